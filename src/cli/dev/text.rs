//! Small conversions that several routes share.

use std::time::{Duration, SystemTime};

use axum::http::HeaderMap;
use jiff::Timestamp;
use serde_json::Value;

/// The server reads `x-langfuse-…` and `x_langfuse_…` alike.
pub(super) fn langfuse_header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).or_else(|| headers.get(name.replace('-', "_"))).and_then(|value| value.to_str().ok())
}

/// Milliseconds as the server prints them.
pub(super) fn iso(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| format!("{time:.3}"))
}

/// ISO 8601 with `Z` or an offset.
pub(super) fn parse_iso(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(|time| time.as_millisecond())
}

/// As the `Date` header has it.
pub(super) fn http_date(ms: i64) -> String {
    let since_epoch = Duration::from_millis(ms.try_into().unwrap_or_default());
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since_epoch)
}

pub(crate) fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// A value as the text that the server stores: strings as they are, everything else as JSON.
pub(super) fn stored_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// How much memory the text of a value takes, roughly.
pub(super) fn text_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 32,
        Value::Array(items) => items.iter().map(text_bytes).sum::<usize>() + 32,
        Value::Object(map) => map.iter().map(|(key, value)| key.len() + text_bytes(value) + 64).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 32,
    }
}

/// The server never refuses an environment: it makes it fit.
pub(super) fn normalized_environment(name: &str) -> String {
    let lower = name.to_lowercase();
    let mut rest = lower.as_str();
    while let Some(stripped) = rest.strip_prefix("langfuse") {
        rest = stripped.strip_prefix(['-', '_']).unwrap_or(stripped);
    }
    let cut: String = rest.chars().take(40).collect();
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if cut.is_empty() || !cut.chars().all(fits) { "default".to_owned() } else { cut }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_is_made_to_fit() {
        assert_eq!(normalized_environment("Production"), "production");
        assert_eq!(normalized_environment("langfuse-langfuse_dev"), "dev");
        assert_eq!(normalized_environment("a b"), "default");
        assert_eq!(normalized_environment("langfuse"), "default");
        assert_eq!(normalized_environment(&"x".repeat(50)).len(), 40);
    }

    #[test]
    fn times_go_both_ways() {
        assert_eq!(iso(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(parse_iso("2023-11-14T23:13:20.123+01:00"), Some(1_700_000_000_123));
        assert_eq!(parse_iso("2023-11-14"), None);
        assert_eq!(http_date(1_700_000_000_123), "Tue, 14 Nov 2023 22:13:20 GMT");
    }
}
