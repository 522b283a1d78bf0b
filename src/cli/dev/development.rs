//! Routes under `/dev`: what tests and people at this machine ask the receiver itself.

use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::app::App;
use super::faults::Fault;
use super::server::Connection;
use super::tree;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/dev/state", get(state))
        .route("/dev/requests", get(requests))
        .route("/dev/rows", get(rows))
        .route("/dev/scores", get(scores))
        .route("/dev/trees", get(trees))
        .route("/dev/faults", post(set_fault))
        .route("/dev/reset", post(reset))
        .layer(from_fn(loopback_only))
}

/// There are no keys on these routes, so the network gets none of them.
async fn loopback_only(
    Extension(connection): Extension<Connection>,
    request: Request,
    next: Next,
) -> Response {
    if connection.peer.ip().to_canonical().is_loopback() {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "/dev is served to this machine only").into_response()
    }
}

async fn state(State(app): State<Arc<App>>) -> Json<Value> {
    let state = app.lock();
    let mut counts = json!(state.store.counts());
    counts["requests"] = state.log.posts().into();
    Json(counts)
}

async fn requests(State(app): State<Arc<App>>) -> Response {
    let entries = app.lock().log.entries();
    Json(entries).into_response()
}

async fn rows(State(app): State<Arc<App>>) -> Response {
    Json(app.lock().store.rows()).into_response()
}

async fn scores(State(app): State<Arc<App>>) -> Response {
    let state = app.lock();
    Json(state.store.scores().collect::<Vec<_>>()).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TreeQuery {
    #[serde(default)]
    format: Format,
    #[serde(default)]
    normalized: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Text,
    Json,
}

async fn trees(State(app): State<Arc<App>>, Query(query): Query<TreeQuery>) -> Response {
    let state = app.lock();
    let traces = tree::build(&state.store, None);
    match query.format {
        Format::Text => {
            let text = tree::text(&traces, query.normalized);
            ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
        }
        Format::Json => Json(tree::json(&traces, query.normalized)).into_response(),
    }
}

async fn set_fault(State(app): State<Arc<App>>, body: String) -> Response {
    match Fault::parse(&body) {
        Ok(fault) => {
            app.lock().set_fault(Some(fault));
            Json(json!({})).into_response()
        }
        Err(message) => (StatusCode::BAD_REQUEST, Json(json!({ "message": message }))).into_response(),
    }
}

async fn reset(State(app): State<Arc<App>>) -> Json<Value> {
    app.lock().reset();
    Json(json!({}))
}
