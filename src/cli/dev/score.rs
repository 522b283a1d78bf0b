//! Scores: what the server takes and what it makes of them.

use axum::http::HeaderMap;
use serde::Serialize;
use serde_json::{Map, Value};

use super::text::{langfuse_header, normalized_environment, stored_text};

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Score {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) value: Value,
    pub(super) data_type: &'static str,
    pub(super) source: String,
    pub(super) environment: String,
    pub(super) trace_id: Option<String>,
    pub(super) observation_id: Option<String>,
    pub(super) session_id: Option<String>,
    pub(super) dataset_run_id: Option<String>,
    pub(super) config_id: Option<String>,
    pub(super) queue_id: Option<String>,
    pub(super) comment: Option<String>,
    pub(super) metadata: Value,
    /// Milliseconds; the time of the envelope, so that a retry is the same score
    pub(super) timestamp: i64,
    pub(super) sdk_name: Option<String>,
}

impl Score {
    /// The same id and name on the same date overwrites.
    pub(super) fn key(&self) -> (i64, String, String) {
        (self.timestamp.div_euclid(86_400_000), self.name.clone(), self.id.clone())
    }

    pub(super) fn bytes(&self) -> usize {
        super::text::text_bytes(&self.metadata)
            + super::text::text_bytes(&self.value)
            + self.comment.as_ref().map_or(0, String::len)
            + 1024
    }

    /// Reads the body of a `score-create` event whose id has been checked.
    pub(super) fn read(
        id: &str,
        body: &Map<String, Value>,
        timestamp: i64,
        headers: &HeaderMap,
    ) -> Result<Self, String> {
        check_texts(body)?;
        let name = text(body, "name").filter(|name| !name.is_empty()).ok_or("name: a score needs a name")?;
        let (data_type, value) = typed_value(body)?;
        let correction = data_type == "CORRECTION";
        check_target(body, correction)?;
        if correction && text(body, "configId").is_some() {
            return Err("configId: a CORRECTION has no config".to_owned());
        }
        let source = match text(body, "source").as_deref() {
            None => "API",
            Some(source @ ("API" | "EVAL" | "ANNOTATION")) => source,
            Some(_) => return Err("source: must be API, EVAL or ANNOTATION".to_owned()),
        }
        .to_owned();
        Ok(Self {
            id: id.to_owned(),
            name: if correction { "output".to_owned() } else { name },
            value,
            data_type,
            source,
            environment: normalized_environment(text(body, "environment").as_deref().unwrap_or("default")),
            trace_id: text(body, "traceId"),
            observation_id: text(body, "observationId"),
            session_id: text(body, "sessionId"),
            dataset_run_id: text(body, "datasetRunId"),
            config_id: text(body, "configId"),
            queue_id: text(body, "queueId"),
            comment: text(body, "comment"),
            metadata: body.get("metadata").cloned().unwrap_or_default(),
            timestamp,
            sdk_name: langfuse_header(headers, "x-langfuse-sdk-name").map(str::to_owned),
        })
    }
}

fn text(body: &Map<String, Value>, key: &str) -> Option<String> {
    body.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn check_texts(body: &Map<String, Value>) -> Result<(), String> {
    const KEYS: [&str; 11] = [
        "name",
        "traceId",
        "observationId",
        "sessionId",
        "datasetRunId",
        "configId",
        "queueId",
        "comment",
        "environment",
        "dataType",
        "source",
    ];
    let is_text = |key: &&str| body.get(*key).is_none_or(|value| value.is_null() || value.is_string());
    KEYS.into_iter().find(|key| !is_text(key)).map_or(Ok(()), |key| Err(format!("{key}: expected a string")))
}

fn typed_value(body: &Map<String, Value>) -> Result<(&'static str, Value), String> {
    let value = body.get("value").cloned().unwrap_or_default();
    let expect = |ok: bool, data_type: &'static str, what: &str| {
        if ok { Ok((data_type, value.clone())) } else { Err(format!("value: {data_type} needs {what}")) }
    };
    let number = value.as_f64();
    match text(body, "dataType").as_deref() {
        None if value.is_number() => Ok(("NUMERIC", value)),
        None if value.is_string() => Ok(("CATEGORICAL", value)),
        None => Err("value: expected a number or a string".to_owned()),
        Some("NUMERIC") => expect(number.is_some(), "NUMERIC", "a number"),
        Some("CATEGORICAL") => expect(value.is_string(), "CATEGORICAL", "a string"),
        Some("BOOLEAN") => expect(number == Some(0.0) || number == Some(1.0), "BOOLEAN", "the number 0 or 1"),
        Some("TEXT") => {
            let fits = value.is_string() && (1..=500).contains(&stored_text(&value).chars().count());
            expect(fits, "TEXT", "a string of 1 to 500 characters")
        }
        Some("CORRECTION") => expect(value.is_string(), "CORRECTION", "a string"),
        Some(_) => Err("dataType: must be NUMERIC, CATEGORICAL, BOOLEAN, TEXT or CORRECTION".to_owned()),
    }
}

fn check_target(body: &Map<String, Value>, correction: bool) -> Result<(), String> {
    let has = |key: &str| text(body, key).is_some_and(|id| !id.is_empty());
    let targets = ["traceId", "sessionId", "datasetRunId"].into_iter().filter(|key| has(key)).count();
    if targets != 1 {
        return Err("a score needs exactly one of traceId, sessionId, datasetRunId".to_owned());
    }
    if has("observationId") && !has("traceId") {
        return Err("observationId: needs traceId".to_owned());
    }
    if correction && !has("traceId") {
        return Err("traceId: a CORRECTION belongs to a trace or an observation".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> Result<Score, String> {
        let Value::Object(body) = body else { panic!("an object") };
        Score::read("id", &body, 0, &HeaderMap::new())
    }

    #[test]
    fn the_type_follows_from_the_value() {
        let of =
            |value: Value| read(json!({ "name": "n", "value": value, "traceId": "t" })).map(|s| s.data_type);
        assert_eq!(of(json!(0.5)), Ok("NUMERIC"));
        assert_eq!(of(json!("good")), Ok("CATEGORICAL"));
        assert!(of(json!(true)).unwrap_err().contains("number or a string"));
        assert!(of(Value::Null).unwrap_err().contains("number or a string"));
    }

    #[test]
    fn the_value_must_fit_the_type() {
        let of = |data_type: &str, value: Value| {
            read(json!({ "name": "n", "value": value, "dataType": data_type, "traceId": "t" }))
                .map(|s| s.name)
        };
        assert_eq!(of("BOOLEAN", json!(1)), Ok("n".to_owned()));
        assert!(of("BOOLEAN", json!(true)).is_err());
        assert!(of("BOOLEAN", json!(2)).is_err());
        assert!(of("NUMERIC", json!("1")).is_err());
        assert!(of("TEXT", json!("")).is_err());
        assert!(of("TEXT", json!("x".repeat(501))).is_err());
        assert_eq!(of("TEXT", json!("é".repeat(500))), Ok("n".to_owned()));
        assert_eq!(of("CORRECTION", json!("better")), Ok("output".to_owned()));
        assert!(of("OTHER", json!(1)).unwrap_err().contains("dataType"));
    }

    #[test]
    fn there_is_exactly_one_target() {
        let of = |body: Value| {
            let mut score = json!({ "name": "n", "value": 1 });
            score.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
            read(score).map(|_| ())
        };
        assert_eq!(of(json!({ "traceId": "t", "observationId": "o" })), Ok(()));
        assert_eq!(of(json!({ "sessionId": "s" })), Ok(()));
        assert!(of(json!({})).is_err());
        assert!(of(json!({ "traceId": "t", "sessionId": "s" })).is_err());
        assert!(of(json!({ "sessionId": "s", "observationId": "o" })).unwrap_err().contains("observationId"));
        assert!(of(json!({ "traceId": 5 })).unwrap_err().contains("traceId"));
    }
}
