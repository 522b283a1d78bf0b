//! The way in for both write routes: read the whole body, note it, fail on purpose, or serve it.

use std::sync::Arc;

use axum::Json;
use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use tokio::time::Instant;

use super::app::App;
use super::faults::{Act, Plan};
use super::request_log::{Answer, Ids, Route};
use super::server::Connection;
use super::{ingestion, otlp};

/// The largest body, as received and as decoded.
pub(super) const MAX_BODY_BYTES: usize = 64 << 20;

pub(super) async fn receive(
    app: Arc<App>,
    connection: Connection,
    route: Route,
    request: Request,
) -> Response {
    if request.method() != Method::POST {
        let body = json!({ "message": "Method not allowed", "error": "MethodNotAllowedError" });
        return (StatusCode::METHOD_NOT_ALLOWED, Json(body)).into_response();
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        return too_large(route);
    };
    // A task of its own: what has arrived completely is processed even when the client is gone.
    let task = tokio::spawn(process(app, route, parts.headers, body));
    match task.await {
        Ok(Outcome::Answer(response)) => response,
        Ok(Outcome::Reset) => connection.reset().await,
        Ok(Outcome::Hang) => std::future::pending().await,
        Err(_) => fail(500, None),
    }
}

enum Outcome {
    Answer(Response),
    Reset,
    Hang,
}

async fn process(app: Arc<App>, route: Route, headers: HeaderMap, body: Bytes) -> Outcome {
    let posted = Posted::decode(route, &headers, &body);
    let (n, epoch, Plan { delay, act }) = {
        let mut state = app.lock();
        let n = state.log.enter(route, &headers, body.len(), posted.ids());
        let plan = state.fault.as_mut().map(|fault| fault.plan(route.into(), body.len(), Instant::now()));
        (n, state.epoch, plan.unwrap_or_default())
    };
    drop(body);
    tokio::time::sleep(delay).await;
    if app.lock().epoch != epoch {
        return Outcome::Answer(fail(503, None));
    }
    let outcome = match act {
        Act::Reset => Outcome::Reset,
        Act::Hang => Outcome::Hang,
        Act::Fail { status, retry_after } => Outcome::Answer(fail(status, retry_after.as_deref())),
        Act::TooLarge => Outcome::Answer(too_large(route)),
        Act::Serve { event_errors, reject_names } => Outcome::Answer(match posted {
            Posted::Traces(export) => otlp::accept(&app, &headers, export, &reject_names),
            Posted::Ingestion(batch) => ingestion::accept(&app, &headers, batch, &event_errors),
        }),
    };
    let answer = match &outcome {
        Outcome::Answer(response) => Answer::Status(response.status().as_u16()),
        Outcome::Reset => Answer::Word("reset"),
        Outcome::Hang => Answer::Word("hung"),
    };
    app.lock().log.answered(n, answer);
    outcome
}

enum Posted {
    Traces(Result<otlp::Export, otlp::Refusal>),
    Ingestion(Result<ingestion::Batch, ingestion::Refusal>),
}

impl Posted {
    fn decode(route: Route, headers: &HeaderMap, body: &[u8]) -> Self {
        match route {
            Route::Traces => Self::Traces(otlp::decode(headers, body)),
            Route::Ingestion => Self::Ingestion(ingestion::decode(headers, body)),
        }
    }

    fn ids(&self) -> Ids {
        match self {
            Self::Traces(export) => export.as_ref().map(otlp::ids).unwrap_or_default(),
            Self::Ingestion(batch) => batch.as_ref().map(ingestion::ids).unwrap_or_default(),
        }
    }
}

fn too_large(route: Route) -> Response {
    match route {
        Route::Traces => (StatusCode::PAYLOAD_TOO_LARGE, Json(json!({ "error": "Request body too large" })))
            .into_response(),
        Route::Ingestion => (StatusCode::PAYLOAD_TOO_LARGE, "Body exceeded 4.5mb limit").into_response(),
    }
}

/// A failure on purpose, in the words the server has for that status.
pub(super) fn fail(status: u16, retry_after: Option<&str>) -> Response {
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = match status {
        429 => json!({
            "code": "rate_limited",
            "message": "Rate limit exceeded",
            "details": { "retryAfterSeconds": retry_after.and_then(|text| text.parse::<u64>().ok()), "remaining": 0 },
        }),
        _ => json!({
            "message": code.canonical_reason().unwrap_or("Error"),
            "error": "langfuse-edge dev fails on purpose",
        }),
    };
    let mut response = (code, Json(body)).into_response();
    if let Some(value) = retry_after.and_then(|text| HeaderValue::from_str(text).ok()) {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}
