//! A model client that traces itself: whoever holds one need not know of Langfuse.
//!
//! ```sh
//! cargo run --features cli -- dev --port 3100 # says what to set, and shows the traces
//! cargo run --example wrapper
//! ```

use std::time::Duration;

use langfuse_edge::{Langfuse, ObservationKind, Usage};
use serde::Serialize;
use serde_json::json;

#[derive(Serialize)]
struct Message {
    role: &'static str,
    content: String,
}

struct Reply {
    content: String,
    input_tokens: u64,
    output_tokens: u64,
}

/// What the program talks to: an HTTP client of a provider, say.
trait Model {
    async fn ask(&self, messages: &[Message]) -> Result<Reply, String>;
}

/// Knows one answer.
struct Oracle;

impl Model for Oracle {
    async fn ask(&self, messages: &[Message]) -> Result<Reply, String> {
        let question = &messages.last().ok_or("there is no message")?.content;
        Ok(Reply { content: "42".to_owned(), input_tokens: question.len() as u64 / 4, output_tokens: 1 })
    }
}

/// Records every call of another model as a generation, a child of whatever is current.
struct Traced<M> {
    model: M,
    langfuse: Langfuse,
}

impl<M: Model> Model for Traced<M> {
    async fn ask(&self, messages: &[Message]) -> Result<Reply, String> {
        let generation = self.langfuse.observe("ask").kind(ObservationKind::Generation).model("oracle-1");
        let generation = generation.model_parameters(&json!({ "temperature": 0 })).input(messages).start();
        let reply = self.model.ask(messages).await;
        match &reply {
            Ok(reply) => {
                generation.output(&reply.content).usage(Usage::new(reply.input_tokens, reply.output_tokens))
            }
            Err(error) => generation.error(error),
        };
        reply // the generation ends here, as it would if this future were dropped
    }
}

async fn answer(model: &impl Model, question: &str) -> Result<String, String> {
    let messages = [Message { role: "user", content: question.to_owned() }];
    model.ask(&messages).await.map(|reply| reply.content)
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let langfuse = Langfuse::from_env()?;
    let model = Traced { model: Oracle, langfuse: langfuse.clone() };

    let chat = langfuse.observe("chat").session_id("session-1").start();
    println!("{}", chat.scope(answer(&model, "What is the answer to everything?")).await?);
    if let Err(error) = chat.scope(model.ask(&[])).await {
        println!("failed: {error}");
    }
    chat.end();

    let report = langfuse.flush_within(Duration::from_secs(5)).await;
    println!("delivered: {}, ok: {}", report.delivered, report.ok);
    Ok(())
}
