//! One endpoint of the server: what waits for it, when it may be asked, and how much at a time.

use std::time::Duration;

use crate::queue::{Queue, Room};
use crate::retry;
use crate::time::Timestamp;

/// How long requests stop after an answer that says that none can succeed.
const MISCONFIGURED_PAUSE: Duration = Duration::from_secs(30);
/// No limit learned from a 413 goes below this: a server that refuses everything must not end in single bytes.
const SMALLEST_BATCH_BYTES: usize = 16 * 1024;
/// A learned limit doubles each time this has passed without another 413, so that one odd answer is not obeyed for ever.
const LIMIT_DOUBLES_AFTER: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) queue: Queue,
    pause: Pause,
    /// Bytes of one request's body.
    batch_bytes: usize,
    /// When that was last learned or doubled.
    learned: Timestamp,
}

/// Requests of every flush stop together when the server asks for it or fails.
#[derive(Debug, Default)]
struct Pause {
    until: Timestamp,
    /// The time the server named itself, which no answer to another request shortens.
    named: Timestamp,
    failures: u32,
    /// Waiting within a flush is useless: the configuration has to change first.
    misconfigured: bool,
    /// What the last attempt got instead of what it should have.
    status: Option<u16>,
}

impl Lane {
    pub(crate) fn new(batch_bytes: usize) -> Self {
        Self { queue: Queue::default(), pause: Pause::default(), batch_bytes, learned: Timestamp::default() }
    }

    /// When the next request may be sent.
    pub(crate) fn opens(&self) -> Timestamp {
        self.pause.until.max(self.pause.named)
    }

    /// No request could succeed when one was last tried.
    pub(crate) fn is_misconfigured(&self) -> bool {
        self.pause.misconfigured
    }

    /// The HTTP status of the last attempt, 0 without an answer, when the server has not answered as it should since.
    pub(crate) fn last_status(&self) -> Option<u16> {
        self.pause.status
    }

    /// What the next request has room for. `most_bytes` is what the settings allow a body.
    pub(crate) fn room(
        &mut self,
        most_bytes: usize,
        overhead: usize,
        records: usize,
        now: Timestamp,
    ) -> Room {
        while self.batch_bytes < most_bytes && self.learned + LIMIT_DOUBLES_AFTER <= now {
            self.batch_bytes *= 2;
            self.learned = self.learned + LIMIT_DOUBLES_AFTER;
        }
        Room::new(self.batch_bytes.min(most_bytes).saturating_sub(overhead), records)
    }

    /// The server has answered as it should.
    pub(crate) fn resume(&mut self) {
        self.pause = Pause { named: self.pause.named, ..Pause::default() };
    }

    /// The server has failed, with this status, or asks for a pause. `jitter` is a random number.
    pub(crate) fn back_off(&mut self, after: Option<Duration>, status: u16, jitter: u32, now: Timestamp) {
        let failures = self.pause.failures + 1;
        // The number of failures is mixed in (by the 32-bit golden ratio) so that the same records draw another delay.
        let jitter = (jitter ^ failures).wrapping_mul(0x9e37_79b9);
        self.pause = Pause {
            until: self.pause.until.max(now + retry::backoff(failures, jitter)),
            named: after.map_or(self.pause.named, |after| self.pause.named.max(now + after)),
            failures,
            misconfigured: false,
            status: Some(status),
        };
    }

    /// No request can succeed for now, as this status says.
    pub(crate) fn close(&mut self, status: u16, now: Timestamp) {
        self.pause = Pause {
            until: now + MISCONFIGURED_PAUSE,
            named: self.pause.named,
            failures: 0,
            misconfigured: true,
            status: Some(status),
        };
    }

    /// A body of this length was too large. Whether half of it is a batch that is worth trying.
    pub(crate) fn learn_limit(&mut self, body_len: usize, now: Timestamp) -> bool {
        let half = body_len / 2;
        self.batch_bytes = self.batch_bytes.min(half.max(SMALLEST_BATCH_BYTES));
        self.learned = now;
        half >= SMALLEST_BATCH_BYTES
    }
}
