//! A Worker in Rust that answers questions: each request is a trace, which is flushed after the response.

use std::cell::OnceCell;

use langfuse_edge::{Langfuse, Observation, Options, Usage};
use worker::{Context, Env, Request, Response, Result, console_warn, event};

thread_local! {
    /// One client for all requests of the isolate: what one of them could not send, the next one's flush sends.
    static CLIENT: OnceCell<Langfuse> = const { OnceCell::new() };
}

#[event(fetch)]
async fn fetch(mut request: Request, env: Env, ctx: Context) -> Result<Response> {
    let langfuse = client(&env);
    let question = request.text().await?;
    let root = langfuse
        .observe(format!("{} {}", request.method().as_ref(), request.path()))
        .input(&question)
        .start();
    let answer = answer(&root, &question);
    root.output(&answer).end();
    // After the last end. The response does not wait for it.
    ctx.wait_until(async move {
        langfuse.flush().await;
    });
    Response::ok(answer)
}

/// Here a model would be called.
fn answer(parent: &Observation, question: &str) -> String {
    let generation = parent.generation("answer").model("gpt-4o").input(question).start();
    let answer = format!("An answer to: {question}");
    generation.output(&answer).usage(Usage::new(5, 7)).end();
    answer
}

/// The isolate's client, from the variables `LANGFUSE_*` of the Worker; without keys it records nothing.
fn client(env: &Env) -> Langfuse {
    let variable = |name: &str| env.var(name).ok().map(|value| value.to_string());
    CLIENT.with(|client| {
        let make = || {
            Langfuse::new(&Options::default().or_env(&variable)).unwrap_or_else(|error| {
                console_warn!("{error}: tracing is disabled");
                Langfuse::disabled()
            })
        };
        client.get_or_init(make).clone()
    })
}
