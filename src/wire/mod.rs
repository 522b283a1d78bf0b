//! What goes over the wire: records, encoded once, and the bodies they travel in.

pub(crate) mod otlp;
mod protobuf;

pub use otlp::encode;

use std::fmt;

use crate::id::ObservationId;

/// An encoded observation: the bytes that are queued, sent and sent again.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    id: ObservationId,
    bytes: Box<[u8]>,
    /// Where input and output begin. They come last, so that a record too large for the server loses them
    /// by being cut here.
    payload_at: usize,
}

impl Record {
    fn new(id: ObservationId, bytes: Vec<u8>, payload_at: usize) -> Self {
        Self { id, bytes: bytes.into_boxed_slice(), payload_at }
    }

    /// The id of the observation.
    #[must_use]
    pub fn id(&self) -> ObservationId {
        self.id
    }

    /// Encoded bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a record is never empty: it has ids, times and a name")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes this record adds to a body.
    pub(crate) fn framed_len(&self) -> usize {
        otlp::framed_span_len(self.bytes.len())
    }

    /// The record without its input and output, and with a note in the metadata that says so;
    /// `None` when that would not make it smaller.
    pub(crate) fn without_payload(&self) -> Option<Self> {
        let removed = self.bytes.len() - self.payload_at;
        let mut bytes = self.bytes[..self.payload_at].to_vec();
        otlp::note_removed_payload(&mut bytes, removed);
        let payload_at = bytes.len();
        (payload_at < self.len()).then(|| Self::new(self.id, bytes, payload_at))
    }
}

/// Without the bytes, which are what the user recorded.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("id", &self.id).field("len", &self.len()).finish()
    }
}
