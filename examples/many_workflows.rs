//! Many workflows at the same time, on many threads: each is a trace of its own, and each is delivered when it returns.
//!
//! ```sh
//! cargo run --features cli -- dev --port 3100 # says what to set, and shows the traces
//! cargo run --example many_workflows
//! ```

use langfuse_edge::{langfuse, run_workflow_with_flush, step};
use tokio::task::JoinSet;

async fn sort_mail(mail: String) -> Result<&'static str, String> {
    step("sort_mail", async {
        let words = step("read", async { Ok::<_, String>(mail.split(' ').count()) }).await?;
        step("decide", async {
            match words {
                0..3 => Err(format!("too short: {mail}")),
                3 => Ok("invoice"),
                _ => Ok("question"),
            }
        })
        .await
    })
    .await
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut workflows = JoinSet::new();
    for mail in ["Invoice number 7", "Where is my order?", "Hello"].into_iter().cycle().take(30) {
        workflows.spawn(async { run_workflow_with_flush(&sort_mail, mail.to_owned()).await });
    }
    let (mut sorted, mut failed) = (0, 0);
    while let Some(result) = workflows.join_next().await {
        *if result?.is_ok() { &mut sorted } else { &mut failed } += 1;
    }

    println!("{sorted} mails sorted, {failed} failed; delivered: {}", langfuse().stats().delivered);
    Ok(())
}
