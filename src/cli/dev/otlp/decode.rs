//! Bytes into the shape of OTLP/JSON.
//!
//! Protobuf is turned into what the server's own decoder makes of it: default values are absent, 64-bit
//! integers are decimal strings, a member of a oneof survives even when empty.

use std::io::Read as _;

use axum::http::{HeaderMap, StatusCode, header};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message as _;
use serde_json::{Map, Value, json};

use super::{Export, Refusal};
use crate::dev::door::MAX_BODY_BYTES;

pub(in crate::dev) fn decode(headers: &HeaderMap, body: &[u8]) -> Result<Export, Refusal> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let unzipped;
    let body = if header(header::CONTENT_ENCODING).contains("gzip") {
        unzipped = gunzip(body)?;
        &unzipped
    } else {
        body
    };
    let content_type = header(header::CONTENT_TYPE).to_lowercase();
    if content_type.contains("application/x-protobuf") {
        let request = ExportTraceServiceRequest::decode(body)
            .map_err(|_| Refusal::bad_request("Failed to parse OTel Protobuf Trace"))?;
        Ok(Export(request.resource_spans.into_iter().map(resource_spans).collect()))
    } else if content_type.contains("application/json") {
        let mut request: Value = serde_json::from_slice(body)
            .map_err(|_| Refusal::bad_request("Failed to parse OTel JSON Trace"))?;
        match request.get_mut("resourceSpans").map(Value::take) {
            Some(Value::Array(resource_spans)) => Ok(Export(resource_spans)),
            Some(Value::Null) | None => Ok(Export(Vec::new())),
            Some(_) => Err(Refusal::bad_request(super::validate::refusal("resourceSpans is not an array"))),
        }
    } else {
        Err(Refusal::bad_request("Invalid content type"))
    }
}

fn gunzip(body: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    let limit = MAX_BODY_BYTES as u64 + 1;
    flate2::read::MultiGzDecoder::new(body)
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(|_| Refusal::bad_request("Failed to decompress request body"))?;
    if bytes.len() > MAX_BODY_BYTES {
        return Err(Refusal(StatusCode::PAYLOAD_TOO_LARGE, "Request body too large".to_owned()));
    }
    Ok(bytes)
}

fn resource_spans(message: ResourceSpans) -> Value {
    let mut out = Map::new();
    if let Some(resource) = message.resource {
        out.insert("resource".to_owned(), Value::Object(with_attributes(Map::new(), resource.attributes)));
    }
    let scope_spans = message.scope_spans.into_iter().map(|message| {
        let mut out = Map::new();
        if let Some(scope) = message.scope {
            out.insert("scope".to_owned(), self::scope(scope));
        }
        put_list(&mut out, "spans", message.spans.into_iter().map(span).collect());
        Value::Object(out)
    });
    put_list(&mut out, "scopeSpans", scope_spans.collect());
    Value::Object(out)
}

fn scope(message: InstrumentationScope) -> Value {
    let mut out = Map::new();
    put_text(&mut out, "name", message.name);
    put_text(&mut out, "version", message.version);
    Value::Object(with_attributes(out, message.attributes))
}

fn span(message: Span) -> Value {
    let mut out = Map::new();
    put_text(&mut out, "traceId", hex(&message.trace_id));
    put_text(&mut out, "spanId", hex(&message.span_id));
    put_text(&mut out, "parentSpanId", hex(&message.parent_span_id));
    put_text(&mut out, "name", message.name);
    if message.kind != 0 {
        out.insert("kind".to_owned(), message.kind.into());
    }
    for (key, nanos) in
        [("startTimeUnixNano", message.start_time_unix_nano), ("endTimeUnixNano", message.end_time_unix_nano)]
    {
        if nanos != 0 {
            out.insert(key.to_owned(), nanos.to_string().into());
        }
    }
    let mut out = with_attributes(out, message.attributes);
    let events = message.events.into_iter().map(|event| {
        let mut out = Map::new();
        put_text(&mut out, "name", event.name);
        Value::Object(with_attributes(out, event.attributes))
    });
    put_list(&mut out, "events", events.collect());
    if let Some(status) = message.status {
        let mut object = Map::new();
        put_text(&mut object, "message", status.message);
        if status.code != 0 {
            object.insert("code".to_owned(), status.code.into());
        }
        out.insert("status".to_owned(), Value::Object(object));
    }
    Value::Object(out)
}

fn with_attributes(mut out: Map<String, Value>, attributes: Vec<KeyValue>) -> Map<String, Value> {
    put_list(&mut out, "attributes", attributes.into_iter().map(key_value).collect());
    out
}

fn key_value(pair: KeyValue) -> Value {
    let mut out = Map::new();
    out.insert("key".to_owned(), pair.key.into());
    if let Some(value) = pair.value {
        out.insert("value".to_owned(), any_value(value));
    }
    Value::Object(out)
}

fn any_value(AnyValue { value }: AnyValue) -> Value {
    let list = |values: Vec<Value>| if values.is_empty() { json!({}) } else { json!({ "values": values }) };
    match value {
        None => json!({}),
        Some(Any::StringValue(text)) => json!({ "stringValue": text }),
        Some(Any::BoolValue(flag)) => json!({ "boolValue": flag }),
        Some(Any::IntValue(number)) => json!({ "intValue": number.to_string() }),
        // serde_json writes NaN and the infinities as null, as the server does.
        Some(Any::DoubleValue(number)) => json!({ "doubleValue": number }),
        Some(Any::ArrayValue(array)) => {
            json!({ "arrayValue": list(array.values.into_iter().map(any_value).collect()) })
        }
        Some(Any::KvlistValue(pairs)) => {
            json!({ "kvlistValue": list(pairs.values.into_iter().map(key_value).collect()) })
        }
        Some(Any::BytesValue(bytes)) => json!({ "bytesValue": { "type": "Buffer", "data": bytes } }),
        Some(Any::StringValueStrindex(_)) => json!({}),
    }
}

fn put_text(out: &mut Map<String, Value>, key: &str, text: String) {
    if !text.is_empty() {
        out.insert(key.to_owned(), text.into());
    }
}

fn put_list(out: &mut Map<String, Value>, key: &str, values: Vec<Value>) {
    if !values.is_empty() {
        out.insert(key.to_owned(), values.into());
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::ArrayValue;
    use opentelemetry_proto::tonic::trace::v1::ScopeSpans;

    use super::*;

    fn decoded(content_type: &str, body: &[u8]) -> Result<Vec<Value>, String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
        decode(&headers, body).map(|export| export.0).map_err(|refusal| refusal.1)
    }

    fn protobuf(span: Span) -> Value {
        let scope_spans = ScopeSpans { spans: vec![span], ..ScopeSpans::default() };
        let resource_spans = ResourceSpans { scope_spans: vec![scope_spans], ..ResourceSpans::default() };
        let request = ExportTraceServiceRequest { resource_spans: vec![resource_spans] };
        let mut export = decoded("application/x-protobuf", &request.encode_to_vec()).unwrap();
        export[0]["scopeSpans"][0]["spans"][0].take()
    }

    fn attribute(value: Option<AnyValue>) -> Value {
        let pair = KeyValue { key: "k".to_owned(), value, ..KeyValue::default() };
        protobuf(Span { attributes: vec![pair], ..Span::default() })["attributes"][0].take()
    }

    #[test]
    fn protobuf_ids_and_times_become_text_and_defaults_are_absent() {
        let span = protobuf(Span {
            trace_id: vec![0xab; 16],
            span_id: vec![1; 8],
            start_time_unix_nano: 1_700_000_000_000_000_001,
            ..Span::default()
        });
        assert_eq!(
            span,
            json!({
                "traceId": "ab".repeat(16),
                "spanId": "01".repeat(8),
                "startTimeUnixNano": "1700000000000000001",
            })
        );
    }

    #[test]
    fn a_member_of_a_oneof_survives_and_its_absence_shows() {
        let any = |value| Some(AnyValue { value });
        let empty = attribute(any(Some(Any::StringValue(String::new()))));
        assert_eq!(empty, json!({ "key": "k", "value": { "stringValue": "" } }));
        assert_eq!(attribute(any(None)), json!({ "key": "k", "value": {} }));
        assert_eq!(attribute(None), json!({ "key": "k" }));
        let list = attribute(any(Some(Any::ArrayValue(ArrayValue { values: Vec::new() }))));
        assert_eq!(list, json!({ "key": "k", "value": { "arrayValue": {} } }));
        let number = attribute(any(Some(Any::IntValue(3_000_000_000))));
        assert_eq!(number["value"], json!({ "intValue": "3000000000" }));
    }

    #[test]
    fn the_content_type_decides() {
        assert_eq!(decoded("text/plain", b"{}").unwrap_err(), "Invalid content type");
        assert_eq!(decoded("Application/JSON; charset=utf-8", b"{}").unwrap(), Vec::<Value>::new());
        assert_eq!(decoded("application/json", b"{").unwrap_err(), "Failed to parse OTel JSON Trace");
        assert_eq!(
            decoded("application/x-protobuf", b"\xff").unwrap_err(),
            "Failed to parse OTel Protobuf Trace"
        );
    }

    #[test]
    fn what_is_no_gzip_is_refused() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
        let refusal = decode(&headers, b"plain").map(|_| ()).map_err(|refusal| refusal.1).unwrap_err();
        assert_eq!(refusal, "Failed to decompress request body");
    }
}
