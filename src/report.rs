//! What became of the records a flush covered.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Why a record was given up by this client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// The queue was at its bound in bytes or records, and this was the oldest record not in flight, or one that
    /// does not fit at all.
    QueueFull,
    /// The record waited for longer than [`Settings::max_age`](crate::exporter::Settings::max_age).
    Expired,
    /// The client was shut down before the record was delivered.
    Shutdown,
    /// It is not known whether the record arrived, and [`Settings::gives_up_ambiguous`] says not to send it again.
    ///
    /// [`Settings::gives_up_ambiguous`]: crate::exporter::Settings::gives_up_ambiguous
    Ambiguous,
    /// The state of the client had to be replaced after a failure in the middle of a call.
    StateLost,
}

/// How many records were given up, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DropReasons {
    /// See [`DropReason::QueueFull`].
    pub queue_full: u64,
    /// See [`DropReason::Expired`].
    pub expired: u64,
    /// See [`DropReason::Shutdown`].
    pub shutdown: u64,
    /// See [`DropReason::Ambiguous`].
    pub ambiguous: u64,
    /// See [`DropReason::StateLost`].
    pub state_lost: u64,
}

impl DropReasons {
    /// The reasons that came up, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        let Self { queue_full, expired, shutdown, ambiguous, state_lost } = *self;
        let reasons = [
            ("queue_full", queue_full),
            ("expired", expired),
            ("shutdown", shutdown),
            ("ambiguous", ambiguous),
            ("state_lost", state_lost),
        ];
        reasons.into_iter().filter(|(_, count)| *count > 0)
    }

    pub(crate) fn count(&mut self, reason: DropReason, records: u64) {
        *match reason {
            DropReason::QueueFull => &mut self.queue_full,
            DropReason::Expired => &mut self.expired,
            DropReason::Shutdown => &mut self.shutdown,
            DropReason::Ambiguous => &mut self.ambiguous,
            DropReason::StateLost => &mut self.state_lost,
        } += records;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        let Self { queue_full, expired, shutdown, ambiguous, state_lost } = other;
        self.queue_full += queue_full;
        self.expired += expired;
        self.shutdown += shutdown;
        self.ambiguous += ambiguous;
        self.state_lost += state_lost;
    }
}

/// A record the server refused for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rejection {
    /// The id of the observation, 16 hex digits, or of the score.
    pub id: String,
    /// The HTTP status of the refusal.
    pub status: u16,
    /// The server's words, at most 300 bytes of them.
    pub message: String,
}

/// What became of every record that was recorded before a flush began.
///
/// Each of them is in exactly one of `delivered`, `rejected`, `retained`, `dropped` and `handed_over`. Records that were given up before
/// the flush began, since the flush before, are counted too.
/// Reports of overlapping flushes may count the same record twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct FlushReport {
    /// Everything covered was delivered.
    pub ok: bool,
    /// Records the server acknowledged.
    pub delivered: u64,
    /// Records the server refused for good.
    pub rejected: Vec<Rejection>,
    /// Records still in memory when the deadline came; the next flush sends them.
    pub retained: u64,
    /// Records given up by this client.
    pub dropped: u64,
    /// `dropped` by reason.
    pub drop_reasons: DropReasons,
    /// Records accepted by a durable overflow queue.
    pub handed_over: u64,
    /// Why a flush is not `ok`, when the server has not answered as it should since: the HTTP status of its last answer, 401 for
    /// wrong keys; 0 when there was none, or one that a host does not show, such as a redirect.
    #[serde(default)]
    pub last_status: Option<u16>,
    /// Requests of this flush that got an answer.
    pub requests: u64,
    /// Requests this flush started.
    pub attempts: u64,
    /// Attempts that ended without an answer after the body may have arrived. Their records were sent again,
    /// or will be, with the same ids and start times.
    pub ambiguous: u64,
    /// Body bytes sent, before compression.
    pub bytes: u64,
    /// Milliseconds from the call to the report.
    pub duration_ms: u64,
}

impl FlushReport {
    /// The report of a flush that had nothing to do.
    #[must_use]
    pub fn nothing_to_do() -> Self {
        Self { ok: true, ..Self::default() }
    }

    pub(crate) fn finish(&mut self, retained: u64, duration: Duration) {
        self.retained = retained;
        self.dropped = self.drop_reasons.iter().map(|(_, count)| count).sum();
        self.ok = retained + self.dropped + self.handed_over == 0 && self.rejected.is_empty();
        self.duration_ms = duration.as_secs() * 1000 + u64::from(duration.subsec_millis());
    }
}

/// In a sentence, with what to do where that is known.
impl fmt::Display for FlushReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { delivered, rejected, retained, dropped, last_status, .. } = self;
        let rejected = rejected.len();
        write!(f, "{delivered} delivered, {rejected} rejected, {retained} retained, {dropped} dropped")?;
        match last_status {
            None => Ok(()),
            Some(0) => f.write_str(": the server gives no answer"),
            Some(status @ (401 | 403)) => {
                write!(f, ": the server answers {status}: check the keys and the base URL")
            }
            Some(status) => write!(f, ": the server answers {status}"),
        }
    }
}

/// Totals since the client was made. Unlike flush reports they never count a record twice:
/// `recorded = delivered + rejected + dropped + handed_over + queued + leased`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Records that entered the queue.
    pub recorded: u64,
    /// Records the server acknowledged.
    pub delivered: u64,
    /// Records the server refused for good.
    pub rejected: u64,
    /// Records given up by this client.
    pub dropped: u64,
    /// Records accepted by a durable overflow queue.
    pub handed_over: u64,
    /// Records waiting now.
    pub queued: u64,
    /// Records in flight now.
    pub leased: u64,
    /// Bytes of the records waiting or in flight now.
    pub bytes: u64,
}
