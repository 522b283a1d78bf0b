//! `POST /api/public/ingestion`: scores and SDK logs; every other event is refused, one by one.

use axum::Json;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};

use super::app::App;
use super::auth::Access;
use super::faults::EventError;
use super::request_log::Ids;
use super::score::Score;
use super::text::parse_iso;

const MAX_BODY_BYTES: usize = 4_718_592;

pub(super) struct Batch(Value);

/// What the body parser says before anybody looks at the keys.
pub(super) struct Refusal(StatusCode, &'static str);

/// gzip is not decoded on this route.
pub(super) fn decode(headers: &HeaderMap, body: &[u8]) -> Result<Batch, Refusal> {
    if body.len() > MAX_BODY_BYTES {
        return Err(Refusal(StatusCode::PAYLOAD_TOO_LARGE, "Body exceeded 4.5mb limit"));
    }
    let content_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !content_type.to_lowercase().starts_with("application/json") {
        return Ok(Batch(Value::Null));
    }
    if body.is_empty() {
        return Ok(Batch(json!({})));
    }
    serde_json::from_slice(body).map(Batch).map_err(|_| Refusal(StatusCode::BAD_REQUEST, "Invalid JSON"))
}

pub(super) fn ids(Batch(body): &Batch) -> Ids {
    let events = body["batch"].as_array().map(Vec::as_slice).unwrap_or_default();
    let scores = events.iter().filter(|event| event["type"] == "score-create");
    let ids = scores.filter_map(|event| event["body"]["id"].as_str()).map(str::to_owned);
    Ids { observations: Vec::new(), scores: ids.collect() }
}

pub(super) fn accept(
    app: &App,
    headers: &HeaderMap,
    batch: Result<Batch, Refusal>,
    event_errors: &[EventError],
) -> Response {
    let Batch(body) = match batch {
        Ok(batch) => batch,
        Err(Refusal(status, text)) => {
            app.lock().store.count_rejected(1);
            return (status, text).into_response();
        }
    };
    let access = app.keys.check(headers);
    if let Access::Denied(message) = access {
        let body = json!({ "error": "UnauthorizedError", "message": message });
        return (StatusCode::UNAUTHORIZED, Json(body)).into_response();
    }
    let Some(events) = body["batch"].as_array() else {
        app.lock().store.count_rejected(1);
        let errors = json!([{ "path": ["batch"], "message": "expected an array" }]);
        let body = json!({ "message": "Invalid request data", "errors": errors });
        return (StatusCode::BAD_REQUEST, Json(body)).into_response();
    };

    let (mut successes, mut errors, mut scores) = (Vec::new(), Vec::new(), Vec::new());
    for event in events {
        match judge(event, &access, headers, event_errors) {
            Verdict::Log => {}
            Verdict::Accepted(id, score) => {
                successes.push(json!({ "id": id, "status": 201 }));
                scores.extend(score);
            }
            Verdict::Refused(id, EventRefusal { status, message, error }) => {
                let mut entry = json!({ "id": id, "status": status, "message": message });
                if let Some(error) = error {
                    entry["error"] = Value::String(error);
                }
                errors.push(entry);
            }
        }
    }
    let mut state = app.lock();
    state.store.count_rejected(errors.len() as u64);
    for score in scores {
        state.store.put_score(*score);
    }
    drop(state);
    (StatusCode::MULTI_STATUS, Json(json!({ "successes": successes, "errors": errors }))).into_response()
}

enum Verdict {
    /// Logs appear in neither list.
    Log,
    Accepted(String, Option<Box<Score>>),
    Refused(String, EventRefusal),
}

struct EventRefusal {
    status: u16,
    message: String,
    error: Option<String>,
}

impl EventRefusal {
    fn invalid(error: impl Into<String>) -> Self {
        Self { status: 400, message: "Invalid request data".to_owned(), error: Some(error.into()) }
    }

    fn plain(status: u16, message: &str) -> Self {
        Self { status, message: message.to_owned(), error: None }
    }
}

fn judge(event: &Value, access: &Access, headers: &HeaderMap, event_errors: &[EventError]) -> Verdict {
    let id = event["id"].as_str().unwrap_or("unknown").to_owned();
    let judged = Envelope::read(event).and_then(|envelope| {
        if *access == Access::Scores && !matches!(envelope.kind, "score-create" | "sdk-log") {
            return Err(EventRefusal::plain(401, "Access Scope Denied"));
        }
        if let Some(wanted) = event_errors.iter().find(|wanted| wanted.is_for(&envelope)) {
            return Err(EventRefusal::plain(wanted.status, &wanted.message));
        }
        match envelope.kind {
            "score-create" => envelope.score(headers).map_err(EventRefusal::invalid).map(Some),
            "sdk-log" => Ok(None),
            kind if is_trace_event(kind) => Err(EventRefusal::plain(400, "Event type not accepted")),
            kind => Err(EventRefusal::invalid(format!("type: {kind:?} is not an event type"))),
        }
    });
    match judged {
        Ok(Some(score)) => Verdict::Accepted(id, score.map(Box::new)),
        Ok(None) => Verdict::Log,
        Err(refusal) => Verdict::Refused(id, refusal),
    }
}

struct Envelope<'a> {
    id: &'a str,
    kind: &'a str,
    timestamp: i64,
    body: &'a Map<String, Value>,
}

impl<'a> Envelope<'a> {
    fn read(event: &'a Value) -> Result<Self, EventRefusal> {
        let invalid = |reason: &str| EventRefusal::invalid(reason);
        Ok(Self {
            id: event["id"]
                .as_str()
                .filter(|id| (1..=800).contains(&id.chars().count()) && !id.contains('\r'))
                .ok_or_else(|| invalid("id: 1 to 800 characters, no carriage return"))?,
            kind: event["type"].as_str().ok_or_else(|| invalid("type: expected a string"))?,
            timestamp: event["timestamp"]
                .as_str()
                .and_then(parse_iso)
                .ok_or_else(|| invalid("timestamp: ISO 8601 with Z or an offset"))?,
            body: event["body"].as_object().ok_or_else(|| invalid("body: expected an object"))?,
        })
    }

    /// An event without `body.id` passes all checks, counts as a success, and is stored nowhere.
    fn score(&self, headers: &HeaderMap) -> Result<Option<Score>, String> {
        let id = match self.body.get("id") {
            None | Some(Value::Null) => "",
            Some(Value::String(id)) if id.chars().count() <= 800 && !id.contains('\r') => id,
            Some(_) => return Err("body.id: at most 800 characters, no carriage return".to_owned()),
        };
        let score = Score::read(id, self.body, self.timestamp, headers)?;
        Ok(Some(score).filter(|_| !id.is_empty()))
    }
}

impl EventError {
    fn is_for(&self, envelope: &Envelope<'_>) -> bool {
        let in_body = |key: &str| envelope.body.get(key).and_then(Value::as_str);
        self.name.as_deref().is_some_and(|name| in_body("name") == Some(name))
            || self.id.as_deref().is_some_and(|id| id == envelope.id || in_body("id") == Some(id))
    }
}

fn is_trace_event(kind: &str) -> bool {
    const CREATE_ONLY: [&str; 9] =
        ["trace", "event", "agent", "tool", "chain", "retriever", "evaluator", "embedding", "guardrail"];
    const CREATE_AND_UPDATE: [&str; 3] = ["span", "generation", "observation"];
    let of = |entity: &str| CREATE_ONLY.contains(&entity) || CREATE_AND_UPDATE.contains(&entity);
    match kind.rsplit_once('-') {
        Some((entity, "create")) => of(entity),
        Some((entity, "update")) => CREATE_AND_UPDATE.contains(&entity),
        _ => false,
    }
}
