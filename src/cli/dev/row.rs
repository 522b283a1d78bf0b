//! One stored observation, as the server's table has it, with what it was made from.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use super::otlp::plain_attributes;
use super::text::{iso, text_bytes};

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) trace_id: String,
    pub(super) parent_observation_id: Option<String>,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) name: String,
    #[serde(serialize_with = "as_iso")]
    pub(super) start_time: i64,
    #[serde(serialize_with = "as_iso")]
    pub(super) end_time: i64,
    #[serde(serialize_with = "as_optional_iso")]
    pub(super) completion_start_time: Option<i64>,
    pub(super) level: &'static str,
    pub(super) status_message: Option<String>,
    pub(super) environment: String,
    pub(super) version: Option<String>,
    pub(super) release: Option<String>,
    pub(super) trace_name: Option<String>,
    pub(super) user_id: Option<String>,
    pub(super) session_id: Option<String>,
    pub(super) tags: Vec<String>,
    pub(super) public: bool,
    pub(super) is_app_root: bool,
    pub(super) input: Option<String>,
    pub(super) output: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
    #[serde(flatten)]
    pub(super) generation: Generation,
    pub(super) sdk_name: Option<String>,
    pub(super) sdk_version: Option<String>,
    #[serde(serialize_with = "as_iso")]
    pub(super) created_at: i64,
    #[serde(flatten)]
    pub(super) received: Received,
    #[serde(skip)]
    pub(super) start_nanos: i64,
    /// Order of arrival, counted over everything that ever came in.
    pub(super) arrival: u64,
}

/// What only calls of a model have.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Generation {
    pub(super) provided_model_name: Option<String>,
    pub(super) model_parameters: Map<String, Value>,
    pub(super) usage_details: BTreeMap<String, u64>,
    pub(super) cost_details: BTreeMap<String, f64>,
    pub(super) total_cost: Option<f64>,
    pub(super) prompt_name: Option<String>,
    pub(super) prompt_version: Option<u64>,
}

/// The span as it came over the wire.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Received {
    pub(super) start_time_unix_nano: Option<Value>,
    pub(super) end_time_unix_nano: Option<Value>,
    pub(super) span_kind: Option<Value>,
    pub(super) span_status: Option<Value>,
    /// Shown as plain values by key; the same list as the next field.
    #[serde(serialize_with = "plain")]
    pub(super) attributes: Arc<Value>,
    /// The list of OTLP key-values, which shows types, order and duplicates.
    #[serde(serialize_with = "shared")]
    pub(super) otlp_attributes: Arc<Value>,
    #[serde(serialize_with = "shared")]
    pub(super) scope: Arc<Value>,
    #[serde(serialize_with = "shared")]
    pub(super) resource: Arc<Value>,
}

impl Row {
    /// Identity of the observation; a re-sent one is another row with the same identity.
    pub(super) fn key(&self) -> (&str, &str) {
        (&self.trace_id, &self.id)
    }

    /// Siblings come in the order they started; within one tick of the clock, in the order they arrived.
    pub(super) fn order(&self) -> (i64, u64) {
        (self.start_nanos, self.arrival)
    }

    pub(super) fn is_root(&self) -> bool {
        self.parent_observation_id.is_none() || self.is_app_root
    }

    pub(super) fn latency_ms(&self) -> i64 {
        self.end_time - self.start_time
    }

    pub(super) fn bytes(&self) -> usize {
        let texts = [&self.input, &self.output, &self.status_message];
        let own: usize = texts.into_iter().flatten().map(String::len).sum();
        let metadata: usize = self.metadata.iter().map(|(key, value)| key.len() + value.len() + 64).sum();
        own + metadata + text_bytes(&self.received.otlp_attributes) + 1024
    }
}

fn as_iso<S: serde::Serializer>(ms: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&iso(*ms))
}

fn as_optional_iso<S: serde::Serializer>(ms: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
    ms.map(iso).serialize(serializer)
}

fn shared<S: serde::Serializer>(value: &Arc<Value>, serializer: S) -> Result<S::Ok, S::Error> {
    value.as_ref().serialize(serializer)
}

fn plain<S: serde::Serializer>(attributes: &Arc<Value>, serializer: S) -> Result<S::Ok, S::Error> {
    plain_attributes(attributes).serialize(serializer)
}
