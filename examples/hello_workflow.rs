//! The smallest workflow: one step, flushed before the program ends.
//!
//! ```sh
//! LANGFUSE_PUBLIC_KEY=pk-lf-… LANGFUSE_SECRET_KEY=sk-lf-… cargo run --example hello_workflow
//! ```

use std::convert::Infallible;

use langfuse_edge::{flush_langfuse, langfuse, run_workflow_with_flush, step};

async fn hello(name: String) -> Result<String, Infallible> {
    step("hello", async { Ok(format!("Hello, {name}!")) }).await
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() {
    let Ok(greeting) = run_workflow_with_flush(&hello, "world".to_owned()).await;
    println!("{greeting}");

    let report = flush_langfuse().await;
    let stats = langfuse().stats();
    println!("delivered: {}, retained: {}, ok: {}", stats.delivered, report.retained, report.ok);
}
