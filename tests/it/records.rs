//! Observations and records with ids that count up, so that a story can name them.

use std::sync::Arc;

use langfuse_edge::observation::{Attributes, Field, ObservationData, ObservationKind};
use langfuse_edge::wire::{Record, ScoreData, encode, encode_score};
use langfuse_edge::{ObservationId, SpanContext, Timestamp, TraceId};

pub(crate) const START: Timestamp = Timestamp::from_millis(1_700_000_000_123);
pub(crate) const END: Timestamp = Timestamp::from_millis(1_700_000_001_456);

/// The observation whose id is `number`, with nothing optional in it.
pub(crate) fn observation(number: u64) -> ObservationData {
    ObservationData {
        context: SpanContext { trace_id: trace_id(0xab), observation_id: observation_id(number) },
        parent: None,
        is_local_root: false,
        kind: ObservationKind::Span,
        name: format!("step {number}"),
        start: START,
        attributes: Attributes::default(),
        trace: Arc::default(),
    }
}

pub(crate) fn observation_id(number: u64) -> ObservationId {
    ObservationId::from_bytes(number.to_be_bytes()).expect("stories count from 1")
}

/// The id as reports show it.
pub(crate) fn hex(number: u64) -> String {
    observation_id(number).to_hex()
}

pub(crate) fn small_record(number: u64) -> Record {
    record_with_input(number, 10)
}

/// A record whose input has this many bytes.
pub(crate) fn record_with_input(number: u64, bytes: usize) -> Record {
    let mut observation = observation(number);
    observation.attributes.fields.set(Field::Input, "x".repeat(bytes));
    encode(observation, END, None, None)
}

/// A record that is as large without any input or output.
pub(crate) fn record_with_metadata(number: u64, bytes: usize) -> Record {
    let mut observation = observation(number);
    observation.attributes.metadata.set("notes", "x".repeat(bytes).into());
    encode(observation, END, None, None)
}

pub(crate) fn trace_id(byte: u8) -> TraceId {
    TraceId::from_bytes([byte; 16]).expect("stories count from 1")
}

/// A small observation of the trace whose id has this byte everywhere.
pub(crate) fn record_of_trace(number: u64, trace: u8) -> Record {
    let mut observation = observation(number);
    observation.context.trace_id = trace_id(trace);
    encode(observation, END, None, None)
}

/// A score with this name, of the trace whose id has this byte everywhere.
pub(crate) fn score_of_trace(name: &str, trace: u8) -> Record {
    let trace_id = trace_id(trace);
    let body = format!(r#"{{"name":"{name}","value":1,"traceId":"{trace_id}"}}"#);
    encode_score(&ScoreData {
        id: None,
        trace_id: Some(trace_id),
        body: &body,
        environment: None,
        recorded: "2026-01-02T03:04:05.678Z",
    })
}

pub(crate) fn score(name: &str) -> Record {
    score_of_trace(name, 0xab)
}
