//! `POST /api/public/otel/v1/traces`.

mod attributes;
mod convert;
mod decode;
mod generation;
mod metadata;
mod validate;

use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};

use super::app::App;
use super::auth::Access;
use super::request_log::Ids;
use super::text::langfuse_header;

pub(super) use decode::decode;

/// The `resourceSpans` of a request, in the shape of OTLP/JSON whatever the encoding was.
pub(super) struct Export(Vec<Value>);

/// A status and the sentence that goes with it.
pub(super) struct Refusal(StatusCode, String);

impl Refusal {
    fn bad_request(error: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, error.into())
    }

    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

impl Export {
    /// All spans, each with its scope and its resource.
    fn spans(&self) -> impl Iterator<Item = (&Value, &Value, &Value)> {
        self.0.iter().flat_map(|resource_spans| {
            list(&resource_spans["scopeSpans"]).iter().flat_map(move |scope_spans| {
                let spans = list(&scope_spans["spans"]).iter();
                spans.map(move |span| (span, &scope_spans["scope"], &resource_spans["resource"]))
            })
        })
    }
}

/// The attributes of a stored span by key.
pub(super) fn plain_attributes(pairs: &Value) -> Map<String, Value> {
    attributes::Attributes::read(pairs).map(|attributes| attributes.0).unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn ids(export: &Export) -> Ids {
    let ids = export.spans().filter_map(|(span, ..)| convert::id(&span["spanId"]));
    Ids { observations: ids.collect(), scores: Vec::new() }
}

/// The checks in the server's order, then the rows.
pub(super) fn accept(
    app: &App,
    headers: &HeaderMap,
    export: Result<Export, Refusal>,
    reject_names: &[String],
) -> Response {
    match app.keys.check(headers) {
        Access::Project => {}
        Access::Scores => {
            let message = "Access denied - insufficient permissions for this endpoint";
            return (StatusCode::FORBIDDEN, Json(json!({ "message": message }))).into_response();
        }
        Access::Denied(message) => {
            return (StatusCode::UNAUTHORIZED, Json(json!({ "message": message }))).into_response();
        }
    }
    match export.and_then(|export| check(headers, export, reject_names)) {
        Err(refusal) => {
            app.lock().store.count_rejected(1);
            refusal.into_response()
        }
        Ok(export) if export.0.is_empty() => Json(json!({})).into_response(),
        Ok(export) => {
            store(app, headers, &export);
            Json(json!({ "name": "otel-ingestion-job", "data": { "spans": export.spans().count() } }))
                .into_response()
        }
    }
}

fn check(headers: &HeaderMap, export: Export, reject_names: &[String]) -> Result<Export, Refusal> {
    if export.0.is_empty() {
        return Ok(export);
    }
    validate::export(&export).map_err(Refusal::bad_request)?;
    if let Some(name) =
        reject_names.iter().find(|name| export.spans().any(|(span, ..)| span["name"] == **name))
    {
        return Err(Refusal::bad_request(validate::refusal(&format!("span {name:?} is refused on purpose"))));
    }
    if let Some(version) = langfuse_header(headers, "x-langfuse-ingestion-version")
        && leading_integer(version).is_none_or(|number| number > 4)
    {
        return Err(Refusal::bad_request(format!(
            "Unsupported x-langfuse-ingestion-version: \"{version}\". Maximum supported: \"4\"."
        )));
    }
    Ok(export)
}

/// Reads a number the way JavaScript's `parseInt` does.
fn leading_integer(text: &str) -> Option<i64> {
    let text = text.trim_start();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let number = digits.get(..end)?.parse::<i64>().ok()?;
    Some(if text.starts_with('-') { -number } else { number })
}

/// The real server answers before it converts: one span that cannot be converted loses the whole request,
/// and nobody is told. Here it shows in `/dev/state`.
fn store(app: &App, headers: &HeaderMap, export: &Export) {
    let rows = convert::rows(export, headers);
    let mut state = app.lock();
    match rows {
        Some(rows) => {
            for row in rows {
                state.store.add_row(row);
            }
            drop(state);
            app.announce_rows();
        }
        None => state.store.count_poisoned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ingestion_version_is_read_like_parse_int() {
        assert_eq!(leading_integer("4"), Some(4));
        assert_eq!(leading_integer(" 4.9beta"), Some(4));
        assert_eq!(leading_integer("-1"), Some(-1));
        assert_eq!(leading_integer("v4"), None);
    }
}
