//! Spans into rows: the server's direct write path.

use std::sync::Arc;

use axum::http::HeaderMap;
use serde_json::Value;

use super::attributes::{Attributes, exact_integer};
use super::decode::hex;
use super::{Export, generation, list, metadata};
use crate::dev::row::{Received, Row};
use crate::dev::text::{langfuse_header, normalized_environment, now_ms, parse_iso, stored_text};

const NANOS_PER_MS: i64 = 1_000_000;

/// `None` when the export is poisoned: one value that cannot be converted loses all of it.
pub(super) fn rows(export: &Export, headers: &HeaderMap) -> Option<Vec<Row>> {
    let sdk = |name| langfuse_header(headers, name).map(str::to_owned);
    let (sdk_name, sdk_version) = (sdk("x-langfuse-sdk-name"), sdk("x-langfuse-sdk-version"));
    let mut rows = Vec::new();
    for resource_spans in &export.0 {
        let resource = Arc::new(resource_spans["resource"].clone());
        for scope_spans in list(&resource_spans["scopeSpans"]) {
            let origin = Origin {
                resource_attributes: Attributes::read(&resource["attributes"])?,
                resource: Arc::clone(&resource),
                scope_attributes: Attributes::read(&scope_spans["scope"]["attributes"])?,
                scope: Arc::new(scope_spans["scope"].clone()),
            };
            for span in list(&scope_spans["spans"]) {
                let mut row = origin.row(span)?;
                row.sdk_name.clone_from(&sdk_name);
                row.sdk_version.clone_from(&sdk_version);
                rows.push(row);
            }
        }
    }
    Some(rows)
}

/// Where spans come from.
pub(super) struct Origin {
    pub(super) resource_attributes: Attributes,
    resource: Arc<Value>,
    pub(super) scope_attributes: Attributes,
    pub(super) scope: Arc<Value>,
}

impl Origin {
    fn row(&self, span: &Value) -> Option<Row> {
        let attributes = Attributes::read(&span["attributes"])?;
        for event in list(&span["events"]) {
            Attributes::read(&event["attributes"])?;
        }
        let received = Arc::new(span["attributes"].clone());
        let (start_nanos, end_nanos) = times(span);
        let kind = kind(&attributes);
        let (input, output) = input_and_output(&attributes);
        let on_span_or_resource =
            |key| attributes.text(&[key]).or_else(|| self.resource_attributes.text(&[key]));
        let environment = ["langfuse.environment", "deployment.environment.name", "deployment.environment"]
            .into_iter()
            .find_map(on_span_or_resource);
        Some(Row {
            id: id(&span["spanId"]).unwrap_or_default(),
            trace_id: id(&span["traceId"]).unwrap_or_default(),
            parent_observation_id: id(&span["parentSpanId"]),
            kind,
            name: name(span, &attributes),
            start_time: start_nanos.div_euclid(NANOS_PER_MS),
            end_time: end_nanos.div_euclid(NANOS_PER_MS),
            start_nanos,
            completion_start_time: completion_start_time(&attributes),
            level: level(span, &attributes),
            status_message: attributes.text(&["langfuse.observation.status_message"]).or_else(|| {
                span["status"]["message"].as_str().filter(|text| !text.is_empty()).map(str::to_owned)
            }),
            environment: normalized_environment(environment.as_deref().unwrap_or("default")),
            version: attributes
                .text(&["langfuse.version"])
                .or_else(|| self.resource_attributes.text(&["service.version"])),
            release: on_span_or_resource("langfuse.release"),
            trace_name: attributes.text(&["langfuse.trace.name"]),
            user_id: attributes.text(&[
                "langfuse.user.id",
                "user.id",
                "langfuse.observation.metadata.langfuse_user_id",
                "langfuse.trace.metadata.langfuse_user_id",
                "ai.telemetry.metadata.userId",
            ]),
            session_id: attributes.text(&[
                "langfuse.session.id",
                "session.id",
                "gen_ai.conversation.id",
                "langfuse.observation.metadata.langfuse_session_id",
                "langfuse.trace.metadata.langfuse_session_id",
                "ai.telemetry.metadata.sessionId",
            ]),
            tags: tags(&attributes),
            public: attributes.flag("langfuse.trace.public") || attributes.flag("langfuse.public"),
            is_app_root: attributes.flag("langfuse.internal.is_app_root"),
            input,
            output,
            metadata: metadata::of_row(&attributes, self),
            generation: generation::read(&attributes, kind),
            created_at: now_ms(),
            received: Received {
                start_time_unix_nano: span.get("startTimeUnixNano").cloned(),
                end_time_unix_nano: span.get("endTimeUnixNano").cloned(),
                span_kind: span.get("kind").cloned(),
                span_status: span.get("status").cloned(),
                attributes: Arc::clone(&received),
                otlp_attributes: received,
                scope: Arc::clone(&self.scope),
                resource: Arc::clone(&self.resource),
            },
            ..Row::default()
        })
    }
}

/// Text is taken verbatim, bytes become lower-case hex; empty is none.
pub(super) fn id(value: &Value) -> Option<String> {
    let bytes = |items: &Value| -> Vec<u8> {
        list(items).iter().filter_map(|byte| u8::try_from(byte.as_u64()?).ok()).collect()
    };
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(_) => hex(&bytes(value)),
        Value::Object(buffer) => hex(&bytes(buffer.get("data")?)),
        _ => return None,
    };
    Some(text).filter(|text| !text.is_empty())
}

/// Start and end in nanoseconds; one that is missing is taken from the other, both from the clock.
fn times(span: &Value) -> (i64, i64) {
    let read = |key: &str| {
        let value = span.get(key)?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "out of range saturates, which no sane time reaches"
        )]
        exact_integer(value).or_else(|| value.as_f64().map(|nanos| nanos as i64))
    };
    let (start, end) = (read("startTimeUnixNano"), read("endTimeUnixNano"));
    let known = start.or(end).unwrap_or_else(|| now_ms() * NANOS_PER_MS);
    (known, end.unwrap_or(known))
}

fn name(span: &Value, attributes: &Attributes) -> String {
    let operation = attributes.text(&["ai.operationId"]).map(|operation| {
        attributes
            .text(&["ai.telemetry.functionId"])
            .map_or_else(|| operation.clone(), |function| format!("{function}:{operation}"))
    });
    attributes
        .text(&["gen_ai.tool.name", "genkit:name", "logfire.msg", "ai.toolCall.name"])
        .or(operation)
        .unwrap_or_else(|| span["name"].as_str().unwrap_or_default().to_owned())
}

const KINDS: [(&str, &str); 10] = [
    ("span", "SPAN"),
    ("generation", "GENERATION"),
    ("event", "EVENT"),
    ("embedding", "EMBEDDING"),
    ("agent", "AGENT"),
    ("tool", "TOOL"),
    ("chain", "CHAIN"),
    ("retriever", "RETRIEVER"),
    ("guardrail", "GUARDRAIL"),
    ("evaluator", "EVALUATOR"),
];

fn kind(attributes: &Attributes) -> &'static str {
    let known = |kind: &str| KINDS.iter().find(|(lower, _)| *lower == kind).map(|(_, upper)| *upper);
    let explicit = attributes.get("langfuse.observation.type").and_then(Value::as_str).and_then(known);
    let open_inference = || match attributes.get("openinference.span.kind")?.as_str()? {
        "LLM" => Some("GENERATION"),
        kind @ ("CHAIN" | "RETRIEVER" | "EMBEDDING" | "AGENT" | "TOOL" | "GUARDRAIL" | "EVALUATOR") => {
            known(&kind.to_lowercase())
        }
        _ => None,
    };
    let gen_ai = || match attributes.get("gen_ai.operation.name")?.as_str()? {
        "chat" | "completion" | "text_completion" | "generate_content" | "generate" => Some("GENERATION"),
        "embeddings" => Some("EMBEDDING"),
        "invoke_agent" | "create_agent" => Some("AGENT"),
        "execute_tool" => Some("TOOL"),
        _ => None,
    };
    let tool = || attributes.text(&["gen_ai.tool.name", "gen_ai.tool.call.id"]).map(|_| "TOOL");
    let model = || attributes.text(&generation::MODEL_KEYS).map(|_| "GENERATION");
    explicit.or_else(open_inference).or_else(gen_ai).or_else(tool).or_else(model).unwrap_or("SPAN")
}

fn level(span: &Value, attributes: &Attributes) -> &'static str {
    let level = attributes.text(&["langfuse.observation.level"]).unwrap_or_default().to_uppercase();
    match level.as_str() {
        "DEBUG" | "TRACE" | "VERBOSE" => "DEBUG",
        "DEFAULT" | "INFO" | "LOG" | "NOTICE" | "OK" | "SUCCESS" => "DEFAULT",
        "WARNING" | "WARN" => "WARNING",
        "ERROR" | "FATAL" | "CRITICAL" => "ERROR",
        _ if span["status"]["code"] == 2 => "ERROR",
        _ => "DEFAULT",
    }
}

/// If either of `langfuse.observation.{input,output}` is there, no fallback runs for the other.
fn input_and_output(attributes: &Attributes) -> (Option<String>, Option<String>) {
    const PAIRS: [(&str, &str); 6] = [
        ("langfuse.observation.input", "langfuse.observation.output"),
        ("gen_ai.input.messages", "gen_ai.output.messages"),
        ("gen_ai.tool.call.arguments", "gen_ai.tool.call.result"),
        ("gen_ai.prompt", "gen_ai.completion"),
        ("input.value", "output.value"),
        ("input", "output"),
    ];
    let read = |key| attributes.get(key).map(stored_text);
    PAIRS
        .into_iter()
        .map(|(input, output)| (read(input), read(output)))
        .find(|(input, output)| input.is_some() || output.is_some())
        .unwrap_or_default()
}

/// Official SDKs send the time inside extra double quotes.
fn completion_start_time(attributes: &Attributes) -> Option<i64> {
    let text = attributes.text(&["langfuse.observation.completion_start_time"])?;
    parse_iso(text.trim_matches('"'))
}

fn tags(attributes: &Attributes) -> Vec<String> {
    const KEYS: [&str; 6] = [
        "langfuse.trace.tags",
        "langfuse.tags",
        "langfuse.observation.metadata.langfuse_tags",
        "langfuse.trace.metadata.langfuse_tags",
        "ai.telemetry.metadata.tags",
        "tag.tags",
    ];
    let read = |key| {
        let tags: Vec<String> = match attributes.get(key)? {
            Value::Array(tags) => tags.iter().map(stored_text).collect(),
            Value::String(text) => match serde_json::from_str::<Vec<Value>>(text) {
                Ok(tags) => tags.iter().map(stored_text).collect(),
                // The text of an unreadable array is one tag, commas and all.
                Err(_) if text.starts_with('{') => vec![text.clone()],
                Err(_) => text.split(',').map(|tag| tag.trim().to_owned()).collect(),
            },
            other => vec![stored_text(other)],
        };
        Some(tags).filter(|tags| !tags.is_empty())
    };
    KEYS.into_iter().find_map(read).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn attribute(key: &str, value: Value) -> Value {
        let wrapper = match &value {
            Value::Bool(_) => "boolValue",
            Value::Number(_) => "intValue",
            Value::Array(_) => {
                let values: Vec<Value> =
                    list(&value).iter().map(|value| json!({ "stringValue": value })).collect();
                return json!({ "key": key, "value": { "arrayValue": { "values": values } } });
            }
            _ => "stringValue",
        };
        json!({ "key": key, "value": { wrapper: value } })
    }

    fn converted(scope: &str, span: Value, attributes: &[(&str, Value)]) -> Row {
        let mut span = span;
        span["traceId"] = json!("t");
        span["spanId"] = json!("s");
        span["attributes"] = attributes.iter().map(|(key, value)| attribute(key, value.clone())).collect();
        let export = Export(vec![json!({
            "resource": { "attributes": [attribute("service.name", json!("shop"))] },
            "scopeSpans": [{ "scope": { "name": scope, "version": "1" }, "spans": [span] }],
        })]);
        rows(&export, &HeaderMap::new()).unwrap().remove(0)
    }

    fn row(attributes: &[(&str, Value)]) -> Row {
        converted("langfuse-sdk", json!({}), attributes)
    }

    #[test]
    fn times_are_milliseconds_and_stand_in_for_each_other() {
        let span = json!({ "startTimeUnixNano": "1700000000123999999" });
        let row = converted("langfuse-sdk", span, &[]);
        assert_eq!((row.start_time, row.end_time), (1_700_000_000_123, 1_700_000_000_123));
        let span = json!({ "startTimeUnixNano": "soon", "endTimeUnixNano": 1_700_000_000_000_000_000_u64 });
        let row = converted("langfuse-sdk", span, &[]);
        assert_eq!((row.start_time, row.end_time), (1_700_000_000_000, 1_700_000_000_000));
    }

    #[test]
    fn the_type_must_be_exact_lower_case() {
        assert_eq!(row(&[("langfuse.observation.type", json!("retriever"))]).kind, "RETRIEVER");
        assert_eq!(row(&[("langfuse.observation.type", json!("Generation"))]).kind, "SPAN");
        assert_eq!(row(&[("gen_ai.operation.name", json!("chat"))]).kind, "GENERATION");
        assert_eq!(row(&[("gen_ai.request.model", json!("m"))]).kind, "GENERATION");
        assert_eq!(row(&[("openinference.span.kind", json!("LLM"))]).kind, "GENERATION");
    }

    #[test]
    fn levels_are_normalised() {
        assert_eq!(row(&[("langfuse.observation.level", json!("warn"))]).level, "WARNING");
        assert_eq!(row(&[("langfuse.observation.level", json!("odd"))]).level, "DEFAULT");
        let failed = converted("langfuse-sdk", json!({ "status": { "code": 2, "message": "boom" } }), &[]);
        assert_eq!((failed.level, failed.status_message.as_deref()), ("ERROR", Some("boom")));
        let named = converted("langfuse-sdk", json!({ "status": { "code": "STATUS_CODE_ERROR" } }), &[]);
        assert_eq!(named.level, "DEFAULT");
    }

    #[test]
    fn input_alone_keeps_fallbacks_away_from_output() {
        let both = [("langfuse.observation.input", json!("q")), ("gen_ai.output.messages", json!("[]"))];
        let row1 = row(&both);
        assert_eq!((row1.input.as_deref(), row1.output), (Some("q"), None));
        assert_eq!(row(&both[1..]).output.as_deref(), Some("[]"));
        assert_eq!(row(&[("langfuse.observation.input", json!(""))]).input.as_deref(), Some(""));
    }

    #[test]
    fn tags_come_in_many_shapes() {
        assert_eq!(row(&[("langfuse.trace.tags", json!(["a", "b"]))]).tags, ["a", "b"]);
        assert_eq!(row(&[("langfuse.trace.tags", json!(r#"["a","b"]"#))]).tags, ["a", "b"]);
        assert_eq!(row(&[("langfuse.trace.tags", json!("a, b"))]).tags, ["a", "b"]);
        assert_eq!(row(&[("langfuse.tags", json!("a"))]).tags, ["a"]);
    }

    #[test]
    fn trace_level_attributes_land_on_the_row() {
        let row = row(&[
            ("langfuse.trace.name", json!("mail")),
            ("user.id", json!("u")),
            ("session.id", json!("s")),
            ("langfuse.trace.public", json!("true")),
            ("langfuse.environment", json!("Staging")),
            ("langfuse.release", json!("r1")),
            ("langfuse.internal.is_app_root", json!(true)),
            ("langfuse.observation.completion_start_time", json!("\"2026-01-01T00:00:00.000Z\"")),
        ]);
        assert_eq!(row.trace_name.as_deref(), Some("mail"));
        assert_eq!((row.user_id.as_deref(), row.session_id.as_deref()), (Some("u"), Some("s")));
        assert!(row.public && row.is_app_root);
        assert_eq!((row.environment.as_str(), row.release.as_deref()), ("staging", Some("r1")));
        assert_eq!(row.completion_start_time, parse_iso("2026-01-01T00:00:00Z"));
    }

    #[test]
    fn one_key_without_a_value_loses_the_export() {
        let export = Export(vec![json!({ "scopeSpans": [{ "spans": [
            { "traceId": "t", "spanId": "good" },
            { "traceId": "t", "spanId": "bad", "attributes": [{ "key": "k" }] },
        ] }] })]);
        assert!(rows(&export, &HeaderMap::new()).is_none());
    }

    #[test]
    fn other_scopes_get_their_attributes_into_the_metadata() {
        let own = row(&[("http.route", json!("/x")), ("langfuse.observation.metadata.a", json!("1"))]);
        assert_eq!(own.metadata.get("a").map(String::as_str), Some("1"));
        assert_eq!(own.metadata.get("resourceAttributes.service.name").map(String::as_str), Some("shop"));
        assert_eq!(own.metadata.get("scope.name").map(String::as_str), Some("langfuse-sdk"));
        assert!(!own.metadata.keys().any(|key| key.starts_with("attributes")));
        let foreign = converted("ai", json!({}), &[("http.route", json!("/x"))]);
        assert_eq!(foreign.metadata.get("attributes.http.route").map(String::as_str), Some("/x"));
    }
}
