//! What is recorded and what is sent, byte by byte.

use std::sync::LazyLock;

use langfuse_edge::exporter::{Action, Exporter, Settings};
use langfuse_edge::observation::Field;
use langfuse_edge::wire::{Record, RecordKind, ScoreData, encode, encode_score};

use super::entry::Entry;
use crate::host::secs;
use crate::records::{END, START, hex, observation, score, small_record, trace_id};

/// What may be left free in a body that has room for no other record: lengths are not known before they are written.
pub(super) const SLACK: usize = 24;

/// What a program records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recorded {
    pub(super) is_score: bool,
    /// Scores may be of none, which is 0.
    pub(super) trace: u8,
    /// Beside what every record has.
    pub(super) bytes: usize,
    pub(super) has_payload: bool,
    pub(super) is_poisonous: bool,
}

pub(super) fn encoded(id: u64, recorded: Recorded) -> Record {
    let Recorded { trace, bytes, .. } = recorded;
    if recorded.is_score {
        score_of(id, trace, bytes)
    } else {
        observation_of(id, trace, bytes, recorded.has_payload)
    }
}

fn observation_of(id: u64, trace: u8, bytes: usize, has_payload: bool) -> Record {
    let mut observation = observation(id);
    observation.context.trace_id = trace_id(trace.max(1));
    if has_payload {
        observation.attributes.fields.set(Field::Input, "x".repeat(bytes));
    } else {
        observation.attributes.metadata.set("notes", "x".repeat(bytes).into());
    }
    encode(observation, END, None, None)
}

/// The id of a score is that of an observation with the same number.
fn score_of(id: u64, trace: u8, bytes: usize) -> Record {
    let body = format!(r#"{{"id":"{}","name":"{}","value":1}}"#, hex(id), "x".repeat(bytes));
    encode_score(&ScoreData {
        id: Some(&hex(id)),
        trace_id: Some(trace).filter(|trace| *trace > 0).map(trace_id),
        body: &body,
        environment: None,
        recorded: "2026-01-02T03:04:05.678Z",
    })
}

/// The events of a body of scores, with the scores they carry: told by their ids, which no other text here is like.
pub(super) fn events(body: &[u8]) -> Vec<(&str, u64)> {
    let body = std::str::from_utf8(body).expect("it is JSON");
    let ids: Vec<_> = body.split(r#"{"id":""#).skip(1).map(|rest| &rest[..16]).collect();
    let (pairs, rest) = ids.as_chunks();
    assert!(rest.is_empty(), "each event has an id, and its score another");
    pairs.iter().map(|[event, id]| (*event, u64::from_str_radix(id, 16).expect("it is a number"))).collect()
}

/// The bytes of a body beside its records, at least.
pub(super) fn overhead(kind: RecordKind) -> usize {
    static OVERHEAD: LazyLock<[usize; 2]> = LazyLock::new(|| {
        [small_record(1), score("quality")].map(|record| {
            let (kind, len) = (record.kind(), record.len());
            let mut exporter = Exporter::new(Settings::default());
            exporter.push(record, START);
            let flush = exporter.begin_flush(secs(1), START);
            let Action::Send(request) = exporter.poll(flush, START) else {
                panic!("there is a record to send")
            };
            request.body.len() - framed(kind, len)
        })
    });
    OVERHEAD[kind as usize]
}

/// The bytes that a record adds to a body.
pub(super) fn framed_len(entry: &Entry) -> usize {
    framed(entry.kind, entry.len)
}

fn framed(kind: RecordKind, len: usize) -> usize {
    match kind {
        // Field number and type, and the length in groups of seven bits.
        RecordKind::Observation => 1 + (len.max(1).ilog2() / 7 + 1) as usize + len,
        // With the comma that parts it from the next.
        RecordKind::Score => len + 1,
    }
}
