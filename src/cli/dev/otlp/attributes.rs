//! OTLP attributes as the values that the server works with.

use serde_json::{Map, Number, Value};

use super::list;
use crate::dev::text::stored_text;

/// Attribute values by key. Where a key comes twice the last one wins.
pub(super) struct Attributes(pub(super) Map<String, Value>);

impl Attributes {
    /// `None` when a value is missing: the server's conversion throws there.
    pub(super) fn read(pairs: &Value) -> Option<Self> {
        let mut map = Map::new();
        for pair in list(pairs) {
            let value = pair.get("value").filter(|value| !value.is_null())?;
            map.insert(pair["key"].as_str().unwrap_or_default().to_owned(), plain(value));
        }
        Some(Self(map))
    }

    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    /// Non-empty text of the first key that has one.
    pub(super) fn text(&self, keys: &[&str]) -> Option<String> {
        keys.iter().filter_map(|key| self.get(key)).map(stored_text).find(|text| !text.is_empty())
    }

    pub(super) fn flag(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| *value == Value::Bool(true) || value.as_str() == Some("true"))
    }

    /// What a JSON text says.
    pub(super) fn json(&self, key: &str) -> Option<Value> {
        serde_json::from_str(self.get(key)?.as_str()?).ok()
    }
}

/// The server's order: string, double, bool, array with values, int; the rest as the text of its wrapper.
fn plain(value: &Value) -> Value {
    for key in ["stringValue", "doubleValue", "boolValue"] {
        if let Some(plain) = value.get(key) {
            return plain.clone();
        }
    }
    if let Some(values) =
        value.get("arrayValue").and_then(|array| array.get("values")).and_then(Value::as_array)
    {
        return values.iter().map(plain).collect();
    }
    match value.get("intValue").map(integer) {
        Some(number) => number,
        None => Value::String(value.to_string()),
    }
}

/// Decimal text, a number, or 32-bit halves.
pub(super) fn exact_integer(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Object(halves) => {
            let half = |key| halves.get(key).and_then(Value::as_i64);
            Some((half("high")? << 32) | (half("low")? & 0xffff_ffff))
        }
        other => other.as_i64(),
    }
}

/// An integer with the precision of JavaScript.
fn integer(value: &Value) -> Value {
    const SAFE: u64 = (1 << 53) - 1;
    match exact_integer(value) {
        Some(number) if number.unsigned_abs() <= SAFE => number.into(),
        #[expect(clippy::cast_precision_loss, reason = "the server loses it too")]
        Some(number) => Number::from_f64(number as f64).map_or(Value::Null, Value::Number),
        None => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Value {
        let attributes = Attributes::read(&json!([{ "key": "k", "value": value }])).unwrap();
        attributes.0["k"].clone()
    }

    #[test]
    fn values_become_plain() {
        assert_eq!(read(json!({ "stringValue": "" })), json!(""));
        assert_eq!(read(json!({ "intValue": "42" })), json!(42));
        assert_eq!(read(json!({ "intValue": 42 })), json!(42));
        assert_eq!(read(json!({ "intValue": { "low": -1, "high": -1 } })), json!(-1));
        assert_eq!(read(json!({ "intValue": "9007199254740993" })), json!(9_007_199_254_740_992_f64));
        assert_eq!(read(json!({ "arrayValue": { "values": [{ "stringValue": "a" }] } })), json!(["a"]));
        assert_eq!(read(json!({ "arrayValue": { "values": [] } })), json!([]));
    }

    #[test]
    fn what_the_server_cannot_read_becomes_the_text_of_its_wrapper() {
        assert_eq!(read(json!({})), json!("{}"));
        assert_eq!(read(json!({ "arrayValue": {} })), json!(r#"{"arrayValue":{}}"#));
        assert_eq!(read(json!({ "bytesValue": "AA==" })), json!(r#"{"bytesValue":"AA=="}"#));
    }

    #[test]
    fn the_last_duplicate_wins_and_a_missing_value_poisons() {
        let pairs =
            json!([{ "key": "k", "value": { "intValue": 1 } }, { "key": "k", "value": { "intValue": 2 } }]);
        assert_eq!(Attributes::read(&pairs).unwrap().0["k"], json!(2));
        assert!(Attributes::read(&json!([{ "key": "k" }])).is_none());
    }
}
