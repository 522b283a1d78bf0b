//! An AWS Lambda function: it has delivered when it returns, because it may be frozen then.
//!
//! ```sh
//! cargo lambda build --example lambda # or any other way to make a binary called `bootstrap`
//! ```

use std::time::Duration;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use langfuse_edge::{Langfuse, Usage};
use serde_json::{Value, json};

/// Of the time a flush may take: the caller waits for it.
const FLUSH_BUDGET: Duration = Duration::from_secs(2);

async fn handle(langfuse: &Langfuse, event: LambdaEvent<Value>) -> Result<Value, Error> {
    let request = langfuse.observe("invocation").input(&event.payload).start();
    request.metadata("request_id", &event.context.request_id);
    let answer = answer(&request, &event.payload);
    match &answer {
        Ok(answer) => request.output(answer),
        Err(error) => request.error(error),
    };
    request.end();
    langfuse.flush_within(FLUSH_BUDGET).await; // what it cannot deliver in time goes with the next invocation
    Ok(answer?)
}

fn answer(request: &langfuse_edge::Observation, payload: &Value) -> Result<Value, String> {
    let question = payload["question"].as_str().ok_or("there is no question")?;
    let generation = request.generation("answer").model("gpt-4o").input(question).start();
    generation.output("42").usage(Usage::new(7, 1)).end();
    Ok(json!({ "answer": "42" }))
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let langfuse = Langfuse::from_env()?; // once: connections live as long as the function's environment
    lambda_runtime::run(service_fn(|event| handle(&langfuse, event))).await
}
