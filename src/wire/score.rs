//! Scores as `score-create` events of Langfuse's ingestion endpoint.

use super::{Record, RecordId};
use crate::id::{TraceId, encode_hex};

/// A score as the caller's side hands it over.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "the drivers build it field by field, and must miss none")]
pub struct ScoreData<'a> {
    /// Its id, when the body has one.
    pub id: Option<&'a str>,
    /// The trace whose sampling it follows and whose flush covers it.
    pub trace_id: Option<TraceId>,
    /// JSON text of an object: the fields of `score-create`.
    pub body: &'a str,
    /// The client's environment, when the body has none.
    pub environment: Option<&'a str>,
    /// When it was recorded, ISO 8601. Langfuse takes it for the time of the score, so that a score that is sent again is
    /// the same score.
    pub recorded: &'a str,
}

/// Encodes a score. One without an id gets one made of what it says, so that the same score, recorded again, is still
/// one score.
#[must_use]
pub fn encode_score(score: &ScoreData<'_>) -> Record {
    let ScoreData { id, trace_id, body, environment, recorded } = *score;
    let event = digest(digest(0, recorded), body);
    let own_id = [1, 2].map(|seed| digest(seed, body).to_be_bytes());
    let own_id = encode_hex(own_id.as_flattened());
    let event_id = encode_hex(&event.to_be_bytes());
    let (id_key, new_id, id_end) = match id {
        Some(_) => ("", "", ""),
        None => ("\"id\":\"", own_id.as_str(), "\","),
    };
    let (environment_key, environment, environment_end) = match environment {
        Some(environment) if environment.bytes().all(is_plain) => ("\"environment\":\"", environment, "\","),
        _ => ("", "", ""),
    };
    let text = [
        "{\"id\":\"",
        event_id.as_str(),
        "\",\"type\":\"score-create\",\"timestamp\":\"",
        recorded,
        "\",\"body\":{",
        id_key,
        new_id,
        id_end,
        environment_key,
        environment,
        environment_end,
        body.get(1..).unwrap_or_default(),
        "}",
    ]
    .concat();
    let len = text.len();
    let id = RecordId::Score { id: id.unwrap_or(&own_id).into(), event };
    Record::new(id, trace_id, text.into_bytes(), len)
}

/// The server would take an environment with any other character for `default`, as it does without one.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// FNV-1a (<http://www.isthe.com/chongo/tech/comp/fnv/>), its bits then mixed as MurmurHash3's finalizer does.
fn digest(seed: u64, text: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ seed;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ hash >> 33_u32).wrapping_mul(factor);
    }
    hash ^ hash >> 33_u32
}

const BEGIN: &[u8] = b"{\"batch\":[";
const END: &[u8] = b"]}";

/// The bytes a body has beside its events.
pub(super) const OVERHEAD: usize = BEGIN.len() + END.len();

/// The bytes an event of `len` bytes takes in a body.
pub(super) const fn framed_event_len(len: usize) -> usize {
    len + 1
}

/// The body of a request to the ingestion endpoint.
pub(super) fn body<'a>(records: impl Iterator<Item = &'a Record> + Clone) -> Vec<u8> {
    let events = records.clone().map(|record| framed_event_len(record.len())).sum::<usize>();
    let mut out = Vec::with_capacity(OVERHEAD + events);
    out.extend_from_slice(BEGIN);
    for (index, record) in records.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&record.bytes);
    }
    out.extend_from_slice(END);
    out
}
