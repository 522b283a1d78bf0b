//! What goes over the wire: records, encoded once, and the bodies they travel in.

pub(crate) mod otlp;
mod protobuf;
mod score;

pub use otlp::encode;
pub use score::{ScoreData, encode_score};

use std::fmt;

use crate::id::{ObservationId, TraceId, encode_hex};
use otlp::Preamble;

/// What a record is, and so where it goes: each kind has an endpoint of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a driver must know where each kind goes")]
pub enum RecordKind {
    /// Observations go to the OTLP endpoint, as protobuf.
    Observation,
    /// Scores go to the ingestion endpoint, as JSON.
    Score,
}

impl RecordKind {
    pub(crate) const ALL: [Self; 2] = [Self::Observation, Self::Score];

    /// The endpoint's path, to be put behind the server's base URL.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Observation => "/api/public/otel/v1/traces",
            Self::Score => "/api/public/ingestion",
        }
    }

    /// The `Content-Type` of its bodies.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Observation => "application/x-protobuf",
            Self::Score => "application/json",
        }
    }
}

/// An encoded observation or score: the bytes that are queued, sent and sent again.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    id: RecordId,
    trace_id: Option<TraceId>,
    bytes: Box<[u8]>,
    /// Where input and output begin. They come last, so that a record too large for the server loses them
    /// by being cut here.
    payload_at: usize,
}

#[derive(Clone, PartialEq, Eq)]
enum RecordId {
    Observation(ObservationId),
    Score {
        id: Box<str>,
        /// Names the event that carries the score, as the server's verdict does.
        event: u64,
    },
}

impl Record {
    fn new(id: RecordId, trace_id: Option<TraceId>, bytes: Vec<u8>, payload_at: usize) -> Self {
        Self { id, trace_id, bytes: bytes.into_boxed_slice(), payload_at }
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> RecordKind {
        match self.id {
            RecordId::Observation(_) => RecordKind::Observation,
            RecordId::Score { .. } => RecordKind::Score,
        }
    }

    /// The id of the observation, 16 hex digits, or of the score.
    #[must_use]
    pub fn id(&self) -> String {
        match &self.id {
            RecordId::Observation(id) => id.to_hex(),
            RecordId::Score { id, .. } => id.as_ref().to_owned(),
        }
    }

    /// The trace it belongs to. The score of a session or a dataset run has none.
    #[must_use]
    pub fn trace_id(&self) -> Option<TraceId> {
        self.trace_id
    }

    /// Encoded bytes.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "a record is never empty: it has an id, a time and a name"
    )]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The name under which a 207 tells what became of it.
    pub(crate) fn event_id(&self) -> Option<String> {
        match self.id {
            RecordId::Observation(_) => None,
            RecordId::Score { event, .. } => Some(encode_hex(&event.to_be_bytes())),
        }
    }

    /// A number as good as random: observation ids are, and so is a digest.
    pub(crate) fn seed(&self) -> u32 {
        match self.id {
            RecordId::Observation(id) => u64::from_le_bytes(*id.as_bytes()) as u32,
            RecordId::Score { event, .. } => event as u32,
        }
    }

    /// The bytes this record adds to a body.
    pub(crate) fn framed_len(&self) -> usize {
        match self.kind() {
            RecordKind::Observation => otlp::framed_span_len(self.bytes.len()),
            RecordKind::Score => score::framed_event_len(self.bytes.len()),
        }
    }

    /// The record without its input and output, and with a note in the metadata that says so;
    /// `None` when that would not make it smaller.
    pub(crate) fn without_payload(&self) -> Option<Self> {
        let removed = self.bytes.len() - self.payload_at;
        let mut bytes = self.bytes[..self.payload_at].to_vec();
        otlp::note_removed_payload(&mut bytes, removed);
        let payload_at = bytes.len();
        (payload_at < self.len()).then(|| Self::new(self.id.clone(), self.trace_id, bytes, payload_at))
    }
}

/// Without the bytes, which are what the user recorded.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("id", &format_args!("{}", self.id()))
            .field("len", &self.len())
            .finish()
    }
}

/// Makes the bodies of requests. All records of a body are of one kind.
#[derive(Debug)]
pub(crate) struct Bodies {
    preamble: Preamble,
}

impl Bodies {
    pub(crate) fn new() -> Self {
        Self { preamble: Preamble::new() }
    }

    /// The bytes a body has beside its records, at most.
    pub(crate) fn overhead(&self, kind: RecordKind) -> usize {
        match kind {
            RecordKind::Observation => self.preamble.overhead(),
            RecordKind::Score => score::OVERHEAD,
        }
    }

    pub(crate) fn body<'a>(
        &self,
        kind: RecordKind,
        records: impl Iterator<Item = &'a Record> + Clone,
    ) -> Vec<u8> {
        match kind {
            RecordKind::Observation => self.preamble.body(records),
            RecordKind::Score => score::body(records),
        }
    }
}
