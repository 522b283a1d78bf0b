//! What is known of one record.

use std::time::Duration;

use langfuse_edge::DropReason;
use langfuse_edge::exporter::LeaseId;
use langfuse_edge::retry::Outcome;
use langfuse_edge::wire::RecordKind;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Not in flight; with the lease it was last sent under.
    Waiting(Option<LeaseId>),
    Leased,
    Delivered,
    /// With the status of the refusal.
    Rejected(u16),
    HandedOver,
    Dropped(DropReason),
}

impl Fate {
    pub(super) fn is_waiting(self) -> bool {
        matches!(self, Self::Waiting(_))
    }

    pub(super) fn is_open(self) -> bool {
        matches!(self, Self::Waiting(_) | Self::Leased)
    }
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) kind: RecordKind,
    /// As reports name it.
    pub(super) name: String,
    pub(super) trace: Option<u8>,
    /// Encoded bytes.
    pub(super) len: usize,
    pub(super) recorded: Duration,
    pub(super) fate: Fate,
    /// Records of one group travel by themselves; 0 is no group.
    pub(super) group: u64,
    /// The event a score travels in, once it has travelled.
    pub(super) event: Option<String>,
    pub(super) may_lose_payload: bool,
    /// Larger than the note that it is left out.
    pub(super) has_large_payload: bool,
    pub(super) is_poisonous: bool,
    /// The server or the overflow has it, whether or not the client heard so.
    pub(super) is_acknowledged: bool,
    /// An attempt ended without the client knowing whether it arrived, so that another may double it.
    pub(super) may_be_doubled: bool,
}

impl Entry {
    /// What an outcome that is a success as a whole makes of it; `None` when it is to be sent again.
    pub(super) fn verdict(&self, outcome: &Outcome) -> Option<Fate> {
        let Outcome::Response { status: 207, verdicts, .. } = outcome else { return Some(Fate::Delivered) };
        let Some(event) = &self.event else { return Some(Fate::Delivered) };
        let status = verdicts.iter().find(|verdict| verdict.id == *event)?.status;
        match status {
            200..=299 => Some(Fate::Delivered),
            408 | 425 | 429 | 500..=599 => None,
            _ => Some(Fate::Rejected(status)),
        }
    }
}
