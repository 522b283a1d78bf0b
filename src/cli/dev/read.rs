//! Reading back through the public API.

use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::app::App;
use super::auth::Access;
use super::door::fail;
use super::faults::{Act, ActiveFault, Place, Plan};
use super::row::Row;
use super::score::Score;
use super::server::Connection;
use super::text::{http_date, iso, now_ms, parse_iso};

/// The server that this receiver is like.
const VERSION: &str = "4.16.0";
const PROJECT: &str = "langfuse-edge-dev";

pub(super) async fn health(State(app): State<Arc<App>>) -> Json<Value> {
    let state = app.lock();
    let version = state.fault.as_ref().and_then(ActiveFault::version).unwrap_or(VERSION);
    Json(json!({ "status": "OK", "version": version }))
}

pub(super) async fn ready(app: State<Arc<App>>) -> Json<Value> {
    health(app).await
}

/// A failure on purpose, and the clock that the answer tells.
pub(super) async fn misbehave(
    State(app): State<Arc<App>>,
    Extension(connection): Extension<Connection>,
    request: Request,
    next: Next,
) -> Response {
    let place = match (request.method(), request.uri().path()) {
        (&Method::GET, "/api/public/health") => Some(Place::Health),
        (&Method::GET, "/api/public/projects") => Some(Place::Projects),
        (&Method::GET, "/api/public/v2/observations") => Some(Place::Observations),
        (&Method::GET, "/api/public/v3/scores") => Some(Place::Scores),
        _ => None,
    };
    let (Plan { delay, act }, ahead) = match (&mut app.lock().fault, place) {
        (Some(fault), Some(place)) => (fault.plan(place, 0, Instant::now()), fault.clock_ahead()),
        (Some(fault), None) => (Plan::default(), fault.clock_ahead()),
        (None, _) => (Plan::default(), 0),
    };
    tokio::time::sleep(delay).await;
    let mut response = match act {
        Act::Reset => connection.reset().await,
        Act::Hang => std::future::pending().await,
        Act::Fail { status, retry_after } => fail(status, retry_after.as_deref()),
        Act::Serve { .. } | Act::TooLarge => next.run(request).await,
    };
    if ahead != 0
        && let Ok(date) = HeaderValue::from_str(&http_date(now_ms() + i64::from(ahead) * 1000))
    {
        response.headers_mut().insert(header::DATE, date);
    }
    response
}

pub(super) async fn projects(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    respond(&app, &headers, || {
        let organization = json!({ "id": PROJECT, "name": PROJECT });
        Ok(
            json!({ "data": [{ "id": PROJECT, "name": PROJECT, "organization": organization, "metadata": {} }] }),
        )
    })
}

pub(super) async fn observations(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    query: Parameters,
) -> Response {
    respond(&app, &headers, || list_observations(&app, &query.0))
}

pub(super) async fn scores(State(app): State<Arc<App>>, headers: HeaderMap, query: Parameters) -> Response {
    respond(&app, &headers, || list_scores(&app, &query.0))
}

/// Names may come more than once.
type Parameters = Query<Vec<(String, String)>>;

fn respond(app: &App, headers: &HeaderMap, answer: impl FnOnce() -> Result<Value, String>) -> Response {
    let (status, body) = match app.keys.check(headers) {
        Access::Project => match answer() {
            Ok(body) => (StatusCode::OK, body),
            Err(message) => {
                (StatusCode::BAD_REQUEST, json!({ "message": message, "error": "InvalidRequestError" }))
            }
        },
        Access::Scores => (
            StatusCode::FORBIDDEN,
            json!({ "message": "Access denied - insufficient permissions for this endpoint" }),
        ),
        Access::Denied(message) => (StatusCode::UNAUTHORIZED, json!({ "message": message })),
    };
    (status, Json(body)).into_response()
}

/// Refuses names it does not know, so that a filter that would do nothing is noticed.
struct Filters<'a>(&'a [(String, String)]);

impl<'a> Filters<'a> {
    fn new(parameters: &'a [(String, String)], known: &[&str]) -> Result<Self, String> {
        match parameters.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => Err(format!("{name} is not a parameter that langfuse-edge dev knows")),
            None => Ok(Self(parameters)),
        }
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.all(name).last()
    }

    /// True when the parameter is absent or one of its values is equal.
    fn allows(&self, name: &str, value: Option<&str>) -> bool {
        self.get(name).is_none() || self.all(name).any(|wanted| Some(wanted) == value)
    }

    fn time(&self, name: &str) -> Result<Option<i64>, String> {
        let read = |text| parse_iso(text).ok_or_else(|| format!("{name} must be ISO 8601"));
        self.get(name).map(read).transpose()
    }

    fn limit(&self, max: usize) -> Result<usize, String> {
        let limit = self.get("limit").map_or(Ok(50), str::parse);
        limit
            .ok()
            .filter(|limit| (1..=max).contains(limit))
            .ok_or_else(|| format!("limit must be 1 to {max}"))
    }

    fn groups(&self) -> Option<Vec<&'a str>> {
        self.get("fields").map(|fields| fields.split(',').map(str::trim).collect())
    }

    /// How many entries earlier pages had.
    fn offset(&self) -> Result<usize, String> {
        let Some(cursor) = self.get("cursor") else { return Ok(0) };
        let decoded = STANDARD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        decoded.and_then(|text| text.parse().ok()).ok_or_else(|| "cursor is not one of ours".to_owned())
    }

    fn page<T>(&self, found: Vec<T>, max: usize, show: impl Fn(T) -> Value) -> Result<Value, String> {
        let (limit, offset) = (self.limit(max)?, self.offset()?);
        let end = offset.saturating_add(limit);
        let mut meta = json!({ "limit": limit });
        if end < found.len() {
            meta["cursor"] = Value::String(STANDARD.encode(end.to_string()));
        }
        let data: Vec<Value> = found.into_iter().skip(offset).take(limit).map(show).collect();
        Ok(json!({ "data": data, "meta": meta }))
    }
}

fn list_observations(app: &App, parameters: &[(String, String)]) -> Result<Value, String> {
    const KNOWN: [&str; 17] = [
        "traceId",
        "userId",
        "sessionId",
        "name",
        "type",
        "level",
        "environment",
        "version",
        "parentObservationId",
        "isRootObservation",
        "fromStartTime",
        "toStartTime",
        "fields",
        "expandMetadata",
        "limit",
        "cursor",
        "parseIoAsJson",
    ];
    let filters = Filters::new(parameters, &KNOWN)?;
    if filters.get("parseIoAsJson") == Some("true") {
        return Err("parseIoAsJson=true is no longer supported; input and output are raw strings".to_owned());
    }
    let (from, to) = (filters.time("fromStartTime")?, filters.time("toStartTime")?);
    let state = app.lock();
    let is_readable = !state.fault.as_ref().is_some_and(ActiveFault::is_unreadable);
    let matches = |row: &&Row| {
        is_readable
            && filters.allows("traceId", Some(&row.trace_id))
            && filters.allows("userId", row.user_id.as_deref())
            && filters.allows("sessionId", row.session_id.as_deref())
            && filters.allows("name", Some(&row.name))
            && filters.allows("type", Some(row.kind))
            && filters.allows("level", Some(row.level))
            && filters.allows("environment", Some(&row.environment))
            && filters.allows("version", row.version.as_deref())
            && filters
                .allows("parentObservationId", Some(row.parent_observation_id.as_deref().unwrap_or_default()))
            && filters.allows("isRootObservation", Some(if row.is_root() { "true" } else { "false" }))
            && from.is_none_or(|from| row.start_time >= from)
            && to.is_none_or(|to| row.start_time < to)
    };
    let mut found: Vec<&Row> = state.store.rows().iter().filter(matches).collect();
    found.sort_by_key(|row| std::cmp::Reverse((row.start_time, row.arrival)));
    let groups = filters.groups().unwrap_or_else(|| vec!["core", "basic"]);
    let expanded: Vec<&str> =
        filters.get("expandMetadata").into_iter().flat_map(|keys| keys.split(',')).collect();
    filters.page(found, 1000, |row| observation(row, &groups, &expanded))
}

fn observation(row: &Row, groups: &[&str], expanded: &[&str]) -> Value {
    let row_json = serde_json::to_value(row).unwrap_or_default();
    let mut out = Map::new();
    for key in std::iter::once("core").chain(groups.iter().copied()).flat_map(keys_of) {
        out.insert((*key).to_owned(), row_json.get(*key).cloned().unwrap_or_default());
    }
    out.insert("projectId".to_owned(), PROJECT.into());
    let mut computed = |key: &str, value: Value| {
        if out.contains_key(key) {
            out.insert(key.to_owned(), value);
        }
    };
    computed("isRootObservation", row.is_root().into());
    computed("bookmarked", false.into());
    computed("updatedAt", iso(row.created_at).into());
    computed("latency", seconds(row.latency_ms()));
    computed(
        "timeToFirstToken",
        row.completion_start_time.map_or(Value::Null, |at| seconds(at - row.start_time)),
    );
    let short = row.metadata.iter().map(|(key, value)| {
        let whole = expanded.contains(&key.as_str());
        (key.clone(), Value::String(if whole { value.clone() } else { value.chars().take(200).collect() }))
    });
    computed("metadata", Value::Object(short.collect()));
    Value::Object(out)
}

fn seconds(ms: i64) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "a duration")]
    let seconds = ms as f64 / 1000.0;
    seconds.into()
}

fn keys_of(group: &str) -> &'static [&'static str] {
    match group {
        "core" => &["id", "traceId", "startTime", "endTime", "parentObservationId", "type"],
        "basic" => &[
            "name",
            "level",
            "statusMessage",
            "version",
            "environment",
            "bookmarked",
            "public",
            "userId",
            "sessionId",
            "isRootObservation",
        ],
        "time" => &["completionStartTime", "createdAt", "updatedAt"],
        "io" => &["input", "output"],
        "metadata" => &["metadata"],
        "model" => &["providedModelName", "internalModelId", "modelParameters"],
        "usage" => &["usageDetails", "costDetails", "totalCost"],
        "prompt" => &["promptId", "promptName", "promptVersion"],
        "metrics" => &["latency", "timeToFirstToken"],
        "trace_context" => &["tags", "release", "traceName"],
        _ => &[],
    }
}

fn list_scores(app: &App, parameters: &[(String, String)]) -> Result<Value, String> {
    const KNOWN: [&str; 16] = [
        "id",
        "traceId",
        "sessionId",
        "observationId",
        "name",
        "dataType",
        "source",
        "environment",
        "configId",
        "queueId",
        "value",
        "fromTimestamp",
        "toTimestamp",
        "limit",
        "cursor",
        "fields",
    ];
    let filters = Filters::new(parameters, &KNOWN)?;
    let (from, to) = (filters.time("fromTimestamp")?, filters.time("toTimestamp")?);
    let state = app.lock();
    let is_readable = !state.fault.as_ref().is_some_and(ActiveFault::is_unreadable);
    let matches = |score: &&Score| {
        is_readable
            && filters.allows("id", Some(&score.id))
            && filters.allows("traceId", score.trace_id.as_deref())
            && filters.allows("sessionId", score.session_id.as_deref())
            && filters.allows("observationId", score.observation_id.as_deref())
            && filters.allows("name", Some(&score.name))
            && filters.allows("dataType", Some(score.data_type))
            && filters.allows("source", Some(&score.source))
            && filters.allows("environment", Some(&score.environment))
            && filters.allows("configId", score.config_id.as_deref())
            && filters.allows("queueId", score.queue_id.as_deref())
            && filters.allows("value", Some(&super::text::stored_text(&score.value)))
            && from.is_none_or(|from| score.timestamp >= from)
            && to.is_none_or(|to| score.timestamp < to)
    };
    let mut found: Vec<&Score> = state.store.scores().filter(matches).collect();
    found.sort_by_key(|score| std::cmp::Reverse(score.timestamp));
    let groups = filters.groups().unwrap_or_default();
    filters.page(found, 100, |score| score_json(score, &groups))
}

fn score_json(score: &Score, groups: &[&str]) -> Value {
    let time = iso(score.timestamp);
    let value = match score.data_type {
        "BOOLEAN" => Value::Bool(score.value.as_f64() == Some(1.0)),
        _ => score.value.clone(),
    };
    let mut out = json!({
        "id": score.id, "projectId": PROJECT, "name": score.name, "value": value, "dataType": score.data_type,
        "source": score.source, "environment": score.environment,
        "timestamp": time, "createdAt": time, "updatedAt": time,
    });
    if groups.contains(&"details") {
        out["comment"] = json!(score.comment);
        out["configId"] = json!(score.config_id);
        out["metadata"] = json!(score.metadata);
    }
    if groups.contains(&"subject") {
        out["subject"] = match (&score.trace_id, &score.observation_id, &score.session_id) {
            (Some(trace), Some(observation), _) => {
                json!({ "kind": "observation", "id": observation, "traceId": trace })
            }
            (Some(trace), None, _) => json!({ "kind": "trace", "id": trace }),
            (None, _, Some(session)) => json!({ "kind": "session", "id": session }),
            _ => json!({ "kind": "experiment", "id": score.dataset_run_id }),
        };
    }
    out
}
