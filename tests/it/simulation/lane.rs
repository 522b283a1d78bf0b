//! What an endpoint has asked for: when requests may begin, and how large they may be. Times are those of a clock that
//! never runs backwards.

use std::time::Duration;

use crate::host::{millis, secs};

const MISCONFIGURED_PAUSE: Duration = secs(30);
const SHORTEST_BACKOFF: Duration = millis(50);
const FIRST_BACKOFF: Duration = millis(500);
const LONGEST_BACKOFF: Duration = secs(10);
const SMALLEST_LIMIT: usize = 16 * 1024;
const LIMIT_DOUBLES_AFTER: Duration = secs(600);

#[derive(Debug)]
pub(super) struct Lane {
    /// Back-off is random within these.
    earliest: Duration,
    latest: Duration,
    /// The time that the server itself has named.
    named: Duration,
    /// One after the other.
    failures: u32,
    /// No request can succeed, as far as is known: one at a time asks, and no flush waits for its turn.
    is_closed: bool,
    /// Bytes of a body.
    limit: usize,
    learned: Duration,
}

impl Lane {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            earliest: Duration::ZERO,
            latest: Duration::ZERO,
            named: Duration::ZERO,
            failures: 0,
            is_closed: false,
            limit,
            learned: Duration::ZERO,
        }
    }

    pub(super) fn opens_from(&self) -> Duration {
        self.earliest.max(self.named)
    }

    pub(super) fn opens_by(&self) -> Duration {
        self.latest.max(self.named)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    pub(super) fn resume(&mut self) {
        (self.earliest, self.latest) = (Duration::ZERO, Duration::ZERO);
        (self.failures, self.is_closed) = (0, false);
    }

    pub(super) fn back_off(&mut self, after: Option<Duration>, now: Duration) {
        self.named = self.named.max(now + after.unwrap_or_default());
        let longest = (FIRST_BACKOFF * (1 << self.failures.min(10))).min(LONGEST_BACKOFF);
        self.earliest = self.earliest.max(now + SHORTEST_BACKOFF);
        self.latest = self.latest.max(now + longest);
        self.failures += 1;
        self.is_closed = false;
    }

    pub(super) fn close(&mut self, now: Duration) {
        let end = now + MISCONFIGURED_PAUSE;
        (self.earliest, self.latest) = (end, end);
        (self.failures, self.is_closed) = (0, true);
    }

    /// A body of this length was too large. `false` when half of it is not worth trying as a limit.
    pub(super) fn learn_limit(&mut self, body_len: usize, now: Duration) -> bool {
        self.limit = self.limit.min((body_len / 2).max(SMALLEST_LIMIT));
        self.learned = now;
        body_len / 2 >= SMALLEST_LIMIT
    }

    /// What a body may have now, when the settings allow it `most`; and how often that has doubled.
    pub(super) fn limit(&mut self, most: usize, now: Duration) -> (usize, u64) {
        let mut doubled = 0;
        while self.limit < most && self.learned + LIMIT_DOUBLES_AFTER <= now {
            self.limit *= 2;
            self.learned += LIMIT_DOUBLES_AFTER;
            doubled += 1;
        }
        (self.limit.min(most), doubled)
    }
}
