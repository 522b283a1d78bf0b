//! A server: every request is a trace, and SIGTERM lets those under way end and be delivered before the process does.
//!
//! ```sh
//! cargo run --features cli -- dev --port 3100 # says what to set, and shows the traces
//! cargo run --example server # PORT, or a free one
//! ```

use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::post;
use langfuse_edge::{Usage, langfuse, shutdown_signal};
use tokio::net::TcpListener;

#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn ask(headers: HeaderMap, question: String) -> String {
    let user = headers.get("x-user").and_then(|user| user.to_str().ok()).unwrap_or("anonymous");
    println!("{user} asks");
    let request = langfuse().observe("POST /ask").user_id(user).input(&question).start();
    let answer = request.scope(call_model(&question)).await;
    request.output(&answer);
    answer // the request's observation ends here, also when the client is gone before
}

async fn call_model(question: &str) -> String {
    let call = langfuse().observe("call_model").kind(langfuse_edge::ObservationKind::Generation);
    let call = call.model("gpt-4o").input(question).start();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let answer = format!("An answer to: {question}");
    call.output(&answer).usage(Usage::new(9, 5));
    answer
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let guard = langfuse_edge::init()?.timeout(Duration::from_secs(10));
    let port = std::env::var("PORT").map_or(Ok(0), |port| port.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);

    let router = Router::new().route("/ask", post(ask));
    axum::serve(listener, router).with_graceful_shutdown(shutdown_signal()).await?;
    drop(guard); // every request has been answered: flush what they recorded
    println!("delivered: {}", langfuse().stats().delivered);
    Ok(())
}
