//! Answers customer mail with a language model, as the email Worker of `examples/cloudflare-worker` does: the same mail and the
//! same answers give the same traces.
//!
//! ```sh
//! node examples/cloudflare-worker/llm-endpoint.mjs # a scripted model: says what to set; or any OpenAI-compatible one
//! cargo run --features cli -- dev --port 3100 # says what to set, and shows the traces
//! OPENAI_API_KEY=scripted OPENAI_BASE_URL=http://… cargo run --example email_workflow -- examples/emails/*.eml
//! ```
//!
//! With `OUTBOX=directory` the replies are written there.

mod llm;
mod mail;
mod tools;
mod workflow;

use std::path::Path;
use std::process::ExitCode;

use langfuse_edge::{flush_langfuse, init, run_workflow_with_flush};

use llm::Llm;
use workflow::{Decision, EmailData, EmailWorkflow};

#[tokio::main]
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "an example shows what it does")]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let _guard = init()?; // LANGFUSE_PUBLIC_KEY, LANGFUSE_SECRET_KEY, LANGFUSE_BASE_URL
    let workflow = EmailWorkflow {
        llm: Llm::from_env()?,
        outbox: std::env::var_os("OUTBOX").map(Into::into),
        callback: Box::new(|step, what| println!("        {step}: {what}")),
    };
    let files: Vec<_> = std::env::args_os().skip(1).collect();
    if files.is_empty() {
        eprintln!("usage: email_workflow MESSAGE.eml…");
        return Ok(ExitCode::from(2));
    }

    for (index, file) in files.iter().map(Path::new).enumerate() {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        println!("[{:2}/{}] {name}", index + 1, files.len());
        let email_data = EmailData { to: "support@example.com".to_owned(), raw: std::fs::read(file)? };
        match run_workflow_with_flush(&workflow, email_data).await {
            Ok(decision) => println!("        {}", summary(&decision)),
            Err(error) => println!("        not answered: {error}"),
        }
    }

    // Every workflow has flushed already: this report says whether anything was left behind.
    let report = flush_langfuse().await;
    println!("retained: {}, ok: {}", report.retained, report.ok);
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn summary(decision: &Decision) -> String {
    let Decision { category, tools, failed_tools, outcome, .. } = decision;
    let plural = if *tools == 1 { "" } else { "s" };
    let failed = match &failed_tools[..] {
        [] => String::new(),
        failed => format!(", failed: {}", failed.join(", ")),
    };
    format!("{category}, {tools} tool step{plural}{failed}, {outcome}")
}
