//! One flush: what it covers, and what has become of that.

use std::time::Duration;

use crate::id::TraceId;
use crate::observation::beginning;
use crate::queue::Queued;
use crate::report::{DropReason, FlushReport, Rejection};
use crate::time::Timestamp;

/// Which records a flush covers, of those that were recorded before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// All of them.
    #[default]
    Everything,
    /// Those of these traces. Other records travel along where there is room, but the flush does not wait for them.
    Traces(Vec<TraceId>),
}

impl Scope {
    pub(crate) fn has(&self, queued: &Queued) -> bool {
        match self {
            Self::Everything => true,
            Self::Traces(traces) => queued.record.trace_id().is_some_and(|trace| traces.contains(&trace)),
        }
    }
}

/// What a flush is to do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FlushSettings {
    /// How long it may take.
    pub budget: Duration,
    /// What it covers.
    pub scope: Scope,
    /// A durable overflow takes what cannot be delivered, in messages of at most this many bytes.
    pub overflow_bytes: Option<usize>,
    /// From now on nothing gets in, and what cannot be delivered is dropped.
    pub is_last: bool,
}

impl FlushSettings {
    /// The last flush of a client that is shut down.
    #[must_use]
    pub fn last(budget: Duration) -> Self {
        Self { is_last: true, ..budget.into() }
    }
}

/// A flush of everything that may take this long.
impl From<Duration> for FlushSettings {
    fn from(budget: Duration) -> Self {
        Self { budget, scope: Scope::Everything, overflow_bytes: None, is_last: false }
    }
}

/// How a flush ends that cannot deliver everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The rest stays for the next flush.
    Retain,
    /// The rest is given to a durable overflow, in messages of at most this many bytes.
    HandOver(usize),
    /// Nothing comes after this flush: the rest is dropped.
    Drop,
}

/// What a durable overflow gets of the flush's time, and at most a quarter.
const OVERFLOW_TIME: Duration = Duration::from_secs(2);
/// An attempt with less time than this would be a request whose answer nobody waits for.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(20);
/// A flush that has made this many requests in vain leaves the rest to the next one: each is a subrequest of the
/// user's, of which a Worker has 50 on the free plan.
const REQUESTS_IN_VAIN: u32 = 40;
/// How long after it was seen overdue a flush is taken for dead.
const FORGET_AFTER: Duration = Duration::from_secs(30);
/// A flush that waits for another's batch looks again after a quarter of the time it has waited, within these.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(200));
/// How much of a server's words a report keeps.
const REJECTION_MESSAGE_BYTES: usize = 300;

#[derive(Debug)]
pub(crate) struct Flush {
    pub(crate) scope: Scope,
    /// Records up to this sequence number were recorded before the flush began.
    pub(crate) watermark: u64,
    pub(crate) ending: Ending,
    pub(crate) started: Timestamp,
    /// The time left after this belongs to the overflow.
    pub(crate) sends_until: Timestamp,
    pub(crate) deadline: Timestamp,
    /// When another flush found this one past its deadline.
    pub(crate) overdue_since: Option<Timestamp>,
    /// Covered records of which nothing has become yet.
    pub(crate) outstanding: u64,
    /// Requests that delivered nothing.
    pub(crate) in_vain: u32,
    pub(crate) report: FlushReport,
}

#[derive(Clone, Copy)]
pub(crate) enum Fate<'a> {
    Delivered,
    Rejected { status: u16, message: &'a str },
    Dropped(DropReason),
    HandedOver,
}

impl Flush {
    pub(crate) fn new(settings: FlushSettings, watermark: u64, now: Timestamp) -> Self {
        let FlushSettings { budget, scope, overflow_bytes, is_last } = settings;
        let (ending, reserve) = match overflow_bytes {
            Some(bytes) => (Ending::HandOver(bytes), OVERFLOW_TIME.min(budget / 4)),
            None if is_last => (Ending::Drop, Duration::ZERO),
            None => (Ending::Retain, Duration::ZERO),
        };
        Self {
            scope,
            watermark,
            ending,
            started: now,
            sends_until: now + budget.saturating_sub(reserve),
            deadline: now + budget,
            overdue_since: None,
            outstanding: 0,
            in_vain: 0,
            report: FlushReport::default(),
        }
    }

    pub(crate) fn covers(&self, queued: &Queued) -> bool {
        queued.sequence <= self.watermark && self.scope.has(queued)
    }

    pub(crate) fn count_covered<'a>(&mut self, records: impl Iterator<Item = &'a Queued>) {
        for queued in records {
            self.outstanding += u64::from(self.covers(queued));
        }
    }

    /// Counts what became of a record; `false` when the flush does not cover it.
    pub(crate) fn settle(&mut self, queued: &Queued, fate: Fate<'_>) -> bool {
        let is_covered = self.covers(queued);
        if is_covered {
            self.outstanding -= 1;
            match fate {
                Fate::Delivered => self.report.delivered += 1,
                Fate::Rejected { status, message } => self.report.rejected.push(Rejection {
                    id: queued.record.id(),
                    status,
                    message: beginning(message, REJECTION_MESSAGE_BYTES).to_owned(),
                }),
                Fate::Dropped(reason) => self.report.drop_reasons.count(reason, 1),
                Fate::HandedOver => self.report.handed_over += 1,
            }
        }
        is_covered
    }

    /// Too late to do anything.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        self.deadline.since(now) < SHORTEST_ATTEMPT
    }

    pub(crate) fn may_send(&self, now: Timestamp) -> bool {
        self.in_vain < REQUESTS_IN_VAIN && self.sends_until.since(now) >= SHORTEST_ATTEMPT
    }

    pub(crate) fn look_again(&self, now: Timestamp) -> Timestamp {
        let (low, high) = LOOK_AGAIN;
        now + (now.since(self.started) / 4).clamp(low, high)
    }

    pub(crate) fn note_if_overdue(&mut self, now: Timestamp) {
        if self.deadline <= now {
            self.overdue_since.get_or_insert(now);
        }
    }

    /// Whether its driver is dead: it was seen overdue and still has not asked for its report a while later. To be past
    /// its deadline is not enough: a clock that jumps forward is there before the living driver wakes.
    pub(crate) fn is_dead(&self, now: Timestamp) -> bool {
        self.overdue_since.is_some_and(|since| since + FORGET_AFTER <= now)
    }
}
