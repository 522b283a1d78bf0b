//! A program that is instrumented with `tracing`, and knows nothing of Langfuse but the layer in `main`.
//!
//! ```sh
//! cargo run --features cli -- dev --port 3100 # says what to set, and shows the traces
//! cargo run --example tracing_layer --features tracing
//! ```

use langfuse_edge::LangfuseLayer;
use tracing::field::Empty;
use tracing::{Span, info, instrument, warn};
use tracing_subscriber::prelude::*;

#[instrument(
    skip_all,
    fields(langfuse.observation.type = "agent", langfuse.user.id = user, langfuse.observation.input = question)
)]
async fn assistant(user: &str, question: &str) -> String {
    info!("looking for documents");
    let documents = tokio::spawn(search(question.to_owned())).await.unwrap_or_default();
    if documents.is_empty() {
        warn!(question, "nothing found");
    }
    chat(question).await
}

/// Not a span with a field that Langfuse knows: left out, as long as `all_spans` is not asked for.
#[instrument]
async fn search(question: String) -> Vec<String> {
    Vec::new()
}

#[instrument(
    skip_all,
    fields(
        gen_ai.operation.name = "chat",
        gen_ai.request.model = "gpt-4o",
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
        langfuse.observation.input = question,
        langfuse.observation.output = Empty,
    )
)]
async fn chat(question: &str) -> String {
    let answer = format!("An answer to: {question}");
    let span = Span::current();
    span.record("gen_ai.usage.input_tokens", 9).record("gen_ai.usage.output_tokens", 5);
    span.record("langfuse.observation.output", &answer);
    answer
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let guard = langfuse_edge::init()?; // flushes at the end: the subscriber is never dropped
    tracing_subscriber::registry().with(LangfuseLayer::new()).init();

    println!("{}", assistant("user-1", "Why is the sky blue?").await);

    let report = guard.langfuse().flush().await;
    println!("delivered: {}, ok: {}", report.delivered, report.ok);
    Ok(())
}
