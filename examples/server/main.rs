//! A server of workflows: each run is a trace that can be watched step by step, and when the server is told to end, every
//! run ends and everything is delivered before the process does.
//!
//! ```sh
//! cargo run --features cli -- dev --port 3100 # says what to set, and shows the traces
//! cargo run --example server
//! curl -d '{"topic": "tea", "sections": 3}' http://127.0.0.1:8080/runs
//! curl -N http://127.0.0.1:8080/runs/$ID/events
//! ```
//!
//! - `POST /runs` starts a run: 202, with its id; 503 once the server is ending.
//! - `GET /runs/{id}/events` streams what it does (SSE), from its beginning: `step` when a step has ended and has been flushed,
//!   `end` with what `GET /runs/{id}` says from then on.
//! - `GET /runs/{id}` says how it is doing: `running`, `done` with its result, `failed` or `aborted` with the reason.
//!
//! At SIGTERM, SIGINT or Ctrl-C no run is started any more, and those under way have `GRACE_SECONDS` (10) to finish. What is left
//! then is aborted: its observations end with level ERROR and say so. Everything is flushed, the last line says what became of it, and the
//! exit code is 0. A second signal ends the process at once; what has not been flushed is lost. `PORT` is 8080 unless it is set.

mod runs;
mod workflow;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream::{self, StreamExt as _};
use langfuse_edge::{langfuse, shutdown_signal};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::runs::{Run, Runs};
use crate::workflow::Order;

const LARGEST_BODY: usize = 64 * 1024;
/// For clients to read the ends of their runs.
const LAST_WORDS: Duration = Duration::from_secs(1);
const LAST_FLUSH: Duration = Duration::from_secs(10);

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Flushes also when main fails or panics.
    let guard = langfuse_edge::init()?.timeout(LAST_FLUSH);
    let port = number("PORT", 8080)?;
    let grace = Duration::from_secs(number("GRACE_SECONDS", 10)?.into());
    let asked_to_end = shutdown_signal();
    let runs = Arc::new(Runs::default());
    let router = Router::new()
        .route("/runs", post(start))
        .route("/runs/{id}", get(show))
        .route("/runs/{id}/events", get(watch))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(Arc::clone(&runs));
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let (close, closing) = oneshot::channel::<()>();
    let server = axum::serve(listener, router).with_graceful_shutdown(async { drop(closing.await) });
    let server = tokio::spawn(server.into_future());

    asked_to_end.await;
    // Whoever watches a run, or asks for its result, is still answered.
    runs.end(grace).await;
    drop(close);
    drop(timeout(LAST_WORDS, server).await);
    drop(guard);

    let stats = langfuse().stats();
    let retained = stats.queued + stats.leased;
    println!(
        "delivered: {}, rejected: {}, dropped: {}, retained: {retained}",
        stats.delivered, stats.rejected, stats.dropped
    );
    Ok(())
}

fn number(variable: &str, default: u16) -> Result<u16, String> {
    let Ok(text) = std::env::var(variable) else { return Ok(default) };
    text.parse().map_err(|_| format!("{variable} must be a number from 0 to {}", u16::MAX))
}

async fn start(State(runs): State<Arc<Runs>>, body: String) -> Response {
    let order: Order = match serde_json::from_str(&body) {
        Ok(order) => order,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    match runs.start(order) {
        Some(run) => {
            let location = [(LOCATION, format!("/runs/{}", run.id))];
            (StatusCode::ACCEPTED, location, Json(json!({ "id": run.id }))).into_response()
        }
        None => refuse(StatusCode::SERVICE_UNAVAILABLE, "the server is ending"),
    }
}

async fn show(State(runs): State<Arc<Runs>>, Path(id): Path<String>) -> Response {
    runs.find(&id).map_or_else(unknown, |run| Json(run.summary()).into_response())
}

async fn watch(State(runs): State<Arc<Runs>>, Path(id): Path<String>) -> Response {
    let Some(run) = runs.find(&id) else { return unknown() };
    let events = stream::unfold((run, 0), async |(run, told): (Arc<Run>, usize)| {
        let event = run.event(told).await?;
        Some((event, (run, told + 1)))
    });
    Sse::new(events.map(|(name, data)| Event::default().event(name).json_data(data))).into_response()
}

fn unknown() -> Response {
    refuse(StatusCode::NOT_FOUND, "there is no such run")
}

fn refuse(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}
