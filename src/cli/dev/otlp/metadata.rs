//! The metadata of a row: what the user gave, what the spans came from, flattened to text.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::attributes::Attributes;
use super::convert::Origin;
use crate::dev::text::stored_text;

const OBSERVATION: &str = "langfuse.observation.metadata";
const TRACE: &str = "langfuse.trace.metadata";
const GENERAL: &str = "langfuse.metadata";

/// With this prefix the raw attributes stay out of the metadata.
const OWN_SCOPE: &str = "langfuse-sdk";

pub(super) fn of_row(attributes: &Attributes, origin: &Origin) -> BTreeMap<String, String> {
    let mut merged = Map::new();
    let scope = origin.scope.as_ref();
    if !scope["name"].as_str().is_some_and(|name| name.starts_with(OWN_SCOPE)) {
        merged.insert("attributes".to_owned(), raw_attributes(attributes));
    }
    merged.insert("resourceAttributes".to_owned(), Value::Object(origin.resource_attributes.0.clone()));
    let mut scope_metadata = json!({ "attributes": origin.scope_attributes.0 });
    for key in ["name", "version"] {
        if let Some(text) = scope.get(key) {
            scope_metadata[key] = text.clone();
        }
    }
    merged.insert("scope".to_owned(), scope_metadata);

    merged.extend(given(attributes, &[OBSERVATION]));
    merged.extend(given(attributes, &[TRACE, GENERAL]));
    let mut flat = BTreeMap::new();
    flatten("", &Value::Object(merged), &mut flat);
    flat
}

/// The blob of the first key that has one, then the single keys, which win.
fn given(attributes: &Attributes, prefixes: &[&str]) -> Map<String, Value> {
    let blob = |prefix: &&str| match attributes.json(prefix)? {
        Value::Object(map) if !map.is_empty() => Some(map),
        Value::Array(items) if !items.is_empty() => {
            Some(items.into_iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect())
        }
        _ => None,
    };
    let mut map = prefixes.iter().find_map(blob).unwrap_or_default();
    for prefix in prefixes.iter().rev() {
        let single = attributes.0.iter().filter_map(|(key, value)| {
            let key = key.strip_prefix(prefix)?.strip_prefix('.')?;
            Some((key.to_owned(), value.clone()))
        });
        map.extend(single);
    }
    map
}

fn raw_attributes(attributes: &Attributes) -> Value {
    let is_content = |key: &str| {
        [OBSERVATION, TRACE, GENERAL].iter().any(|prefix| key.starts_with(prefix))
            || matches!(key, "input" | "output" | "input.value" | "output.value")
            || key.ends_with(".input")
            || key.ends_with(".output")
            || key.ends_with(".input.messages")
            || key.ends_with(".output.messages")
    };
    let kept = attributes.0.iter().filter(|(key, _)| !is_content(key));
    kept.map(|(key, value)| (key.clone(), Value::String(stored_text(value)))).collect::<Map<_, _>>().into()
}

fn flatten(path: &str, value: &Value, flat: &mut BTreeMap<String, String>) {
    let Value::Object(map) = value else {
        flat.insert(path.to_owned(), stored_text(value));
        return;
    };
    for (key, value) in map {
        if key.split('.').any(|segment| matches!(segment, "__proto__" | "constructor" | "prototype")) {
            continue;
        }
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        flatten(&path, value, flat);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given_from(pairs: Value, prefixes: &[&str]) -> Value {
        let Value::Object(map) = pairs else { panic!("an object") };
        Value::Object(given(&Attributes(map), prefixes))
    }

    #[test]
    fn single_keys_win_over_the_blob() {
        let pairs = json!({
            "langfuse.observation.metadata": r#"{"a":1,"b":2}"#,
            "langfuse.observation.metadata.b": "two",
        });
        assert_eq!(given_from(pairs, &[OBSERVATION]), json!({ "a": 1, "b": "two" }));
    }

    #[test]
    fn a_blob_that_is_no_object_is_dropped() {
        for blob in ["", "text", "3", "{", "null"] {
            assert_eq!(
                given_from(json!({ "langfuse.observation.metadata": blob }), &[OBSERVATION]),
                json!({})
            );
        }
        let array = json!({ "langfuse.observation.metadata": "[7]" });
        assert_eq!(given_from(array, &[OBSERVATION]), json!({ "0": 7 }));
    }

    #[test]
    fn the_general_key_stands_in_for_the_trace() {
        let pairs = json!({ "langfuse.metadata": r#"{"a":1}"#, "langfuse.metadata.b": 2 });
        assert_eq!(given_from(pairs, &[TRACE, GENERAL]), json!({ "a": 1, "b": 2 }));
    }

    #[test]
    fn leaves_become_text_under_dotted_paths() {
        let mut flat = BTreeMap::new();
        let value = json!({ "a": { "b": 1, "c": [1, "x"], "__proto__": 1 }, "d": true, "e": "text" });
        flatten("", &value, &mut flat);
        let expected = [("a.b", "1"), ("a.c", r#"[1,"x"]"#), ("d", "true"), ("e", "text")];
        assert_eq!(flat, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    }
}
