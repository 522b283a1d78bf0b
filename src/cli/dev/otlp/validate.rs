//! What makes the server refuse a whole export.

use serde_json::Value;

use super::{Export, list};

pub(super) fn refusal(reason: &str) -> String {
    format!("Invalid OTLP trace export: {reason}. No spans were ingested.")
}

/// Ids must be there and be text or bytes; their length is not checked. Lists must be lists.
pub(super) fn export(export: &Export) -> Result<(), String> {
    check(export).map_err(|reason| refusal(&reason))
}

fn check(export: &Export) -> Result<(), String> {
    for resource_spans in &export.0 {
        expect_list(&resource_spans["resource"], "attributes", "resource")?;
        expect_list(resource_spans, "scopeSpans", "resourceSpans")?;
        for scope_spans in list(&resource_spans["scopeSpans"]) {
            expect_list(&scope_spans["scope"], "attributes", "scope")?;
            expect_list(scope_spans, "spans", "scopeSpans")?;
        }
    }
    for (index, (span, ..)) in export.spans().enumerate() {
        let here = format!("span {index}");
        for key in ["traceId", "spanId"] {
            match &span[key] {
                Value::Null => return Err(format!("{here} has no {key}")),
                id if !is_id(id) => return Err(format!("{here} has a {key} that is neither text nor bytes")),
                _ => {}
            }
        }
        let parent = &span["parentSpanId"];
        if !parent.is_null() && !is_id(parent) {
            return Err(format!("{here} has a parentSpanId that is neither text nor bytes"));
        }
        expect_list(span, "attributes", &here)?;
        expect_list(span, "events", &here)?;
        for event in list(&span["events"]) {
            expect_list(event, "attributes", &format!("an event of {here}"))?;
        }
    }
    Ok(())
}

fn is_id(value: &Value) -> bool {
    match value {
        Value::String(_) => true,
        Value::Array(bytes) => bytes.iter().all(Value::is_u64),
        Value::Object(buffer) => buffer.get("data").is_some_and(Value::is_array),
        _ => false,
    }
}

fn expect_list(parent: &Value, key: &str, whose: &str) -> Result<(), String> {
    match &parent[key] {
        Value::Null | Value::Array(_) => Ok(()),
        _ => Err(format!("{key} of {whose} is not an array")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn verdict(span: Value) -> Result<(), String> {
        export(&Export(vec![json!({ "scopeSpans": [{ "spans": [span] }] })]))
    }

    #[test]
    fn ids_must_be_there_but_may_have_any_length() {
        assert_eq!(verdict(json!({ "traceId": "x", "spanId": "" })), Ok(()));
        assert_eq!(verdict(json!({ "traceId": [1, 2], "spanId": { "data": [3] } })), Ok(()));
        assert_eq!(
            verdict(json!({ "spanId": "s" })).unwrap_err(),
            "Invalid OTLP trace export: span 0 has no traceId. No spans were ingested."
        );
        assert!(verdict(json!({ "traceId": "t", "spanId": 5 })).unwrap_err().contains("spanId"));
        assert!(
            verdict(json!({ "traceId": "t", "spanId": "s", "parentSpanId": 5 }))
                .unwrap_err()
                .contains("parentSpanId")
        );
    }

    #[test]
    fn lists_must_be_lists_wherever_they_are() {
        let refused = |resource_spans| export(&Export(vec![resource_spans])).unwrap_err();
        assert!(refused(json!({ "resource": { "attributes": {} } })).contains("attributes of resource"));
        assert!(refused(json!({ "scopeSpans": {} })).contains("scopeSpans"));
        assert!(refused(json!({ "scopeSpans": [{ "spans": 1 }] })).contains("spans"));
        assert!(refused(json!({ "scopeSpans": [{ "scope": { "attributes": 1 } }] })).contains("scope"));
        let span = json!({ "traceId": "t", "spanId": "s", "events": [{ "attributes": "x" }] });
        assert!(verdict(span).unwrap_err().contains("an event of span 0"));
    }
}
