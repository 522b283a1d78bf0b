//! The workflow: an article, written section by section.

use std::sync::Arc;
use std::time::Duration;

use langfuse_edge::{LlmCall, ObservationKind, observe};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::runs::Run;

/// What a client orders.
#[derive(Serialize, Deserialize)]
pub(crate) struct Order {
    topic: String,
    #[serde(default = "three")]
    sections: u8,
}

fn three() -> u8 {
    3
}

/// Every part of it is a step, which is aborted, flushed and told of as [`Run::step`] says.
pub(crate) async fn write_article(run: Arc<Run>, order: Order) -> Result<String, String> {
    let Order { topic, sections } = order;
    let mut article = run.step("outline", ask_model(format!("An outline of an article on {topic}"))).await?;
    for number in 1..=sections {
        article += &run
            .step(&format!("section {number}"), ask_model(format!("Section {number} on {topic}")))
            .await?;
    }
    run.step("review", async {
        match sections {
            0 => Err("an article needs a section".to_owned()),
            _ => ask_model(format!("A review of an article on {topic}")).await,
        }
    })
    .await?;
    Ok(article)
}

/// Stands for a language model. A call that is dropped before it has an answer, because its run is aborted, ends with level WARNING.
async fn ask_model(prompt: String) -> Result<String, String> {
    let request = json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": prompt }] });
    let call = LlmCall::start(observe("ask_model").kind(ObservationKind::Generation), &request);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let answer = format!("{prompt}.\n");
    call.end(&json!({ "output": answer, "usage": { "input": 9, "output": 9 } }));
    Ok(answer)
}
