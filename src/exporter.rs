//! The state machine every client drives: it decides what is sent, when, and what has become of it.
//!
//! It does no I/O, reads no clock and draws no random numbers: time comes in as an argument, answers come in
//! through [`Exporter::handle_response`], and what to do next comes out of [`Exporter::poll`]:
//!
//! ```text
//! begin_flush -> loop { poll: Send(request)  -> send it, then handle_response
//!                             WaitUntil(time) -> wait
//!                             Done(report)    -> the flush is over }
//! ```
//!
//! A flush that may give what it cannot deliver to a durable overflow is also told to `HandOver(request)`.
//!
//! A batch in flight stays here, under a lease with a deadline. A driver that dies (its request cancelled, its
//! isolate frozen, its promise never settled) never comes back to say so; when the lease expires the records
//! return to the queue, and the next flush of anyone sends them.

use std::fmt;
use std::time::Duration;

use crate::flush::{Ending, Fate, Flush};
use crate::lane::Lane;
use crate::lease::{Lease, Leases};
use crate::queue::{Queued, Room};
use crate::report::{DropReason, DropReasons, FlushReport, Stats};
use crate::retry::{self, Decision, Outcome, Reception};
use crate::table::Table;
use crate::time::{SteadyClock, Timestamp};
use crate::wire::{Bodies, Record, RecordKind};

pub use crate::flush::{FlushSettings, Scope};
pub use crate::lease::{FlushId, LeaseId};

/// Settings of an [`Exporter`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Bytes of records in memory, waiting or in flight.
    pub queue_bytes: usize,
    /// Records in memory, waiting or in flight.
    pub queue_records: usize,
    /// Bytes of one request's body.
    pub batch_bytes: usize,
    /// Records in one request.
    pub batch_records: usize,
    /// How long one attempt may take.
    pub attempt_timeout: Duration,
    /// How long a record may wait to be delivered.
    pub max_age: Duration,
    /// Drops the records of an attempt that may have arrived, where they would be sent again. A record is then never
    /// delivered twice, and some are lost.
    pub gives_up_ambiguous: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            queue_bytes: 16 * 1024 * 1024,
            queue_records: 100_000,
            batch_bytes: 3_500_000,
            batch_records: 512,
            attempt_timeout: Duration::from_secs(10),
            max_age: Duration::from_secs(3600),
            gives_up_ambiguous: false,
        }
    }
}

/// What [`Exporter::push`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// The record waits to be sent.
    Queued,
    /// The record was given up.
    Dropped(DropReason),
}

/// A request to send.
pub struct Request {
    /// To be given to [`Exporter::handle_response`] with the outcome.
    pub lease: LeaseId,
    /// The endpoint it goes to.
    pub kind: RecordKind,
    /// The body, of [`RecordKind::content_type`].
    pub body: Vec<u8>,
    /// Give up after this long, and report [`Outcome::Failed`].
    pub timeout: Duration,
}

/// Without the body, which is what the user recorded.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lease, kind, body, timeout } = self;
        write!(
            f,
            "Request {{ lease: {lease:?}, {kind:?}, body: {} bytes, timeout: {timeout:?} }}",
            body.len()
        )
    }
}

/// What a driver does next.
#[derive(Debug)]
pub enum Action {
    /// Send the request, hand the outcome to [`Exporter::handle_response`], then poll again.
    Send(Request),
    /// Give the request to the durable overflow, tell [`Exporter::handle_hand_over`] whether it was accepted, then poll
    /// again.
    HandOver(Request),
    /// Wait until then, and poll again. Polling earlier does no harm.
    WaitUntil(Timestamp),
    /// The flush is over.
    Done(FlushReport),
}

/// Beyond an attempt's timeout, so that only a dead driver's lease expires.
const LEASE_GRACE: Duration = Duration::from_secs(2);

/// The state machine. See the [module](self).
#[derive(Debug)]
pub struct Exporter {
    settings: Settings,
    bodies: Bodies,
    clock: SteadyClock,
    /// One for each [`RecordKind`].
    lanes: [Lane; 2],
    leases: Leases,
    flushes: Table<Flush>,
    totals: Stats,
    /// Records given up while no flush covered them, for the next report to tell.
    unreported: DropReasons,
    /// The last flush has begun: nothing gets in any more.
    is_closed: bool,
    last_sequence: u64,
    last_id: u64,
}

impl Exporter {
    /// An empty exporter.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            bodies: Bodies::new(),
            clock: SteadyClock::default(),
            lanes: [Lane::new(settings.batch_bytes), Lane::new(settings.batch_bytes)],
            leases: Leases::default(),
            flushes: Table::new(),
            totals: Stats::default(),
            unreported: DropReasons::default(),
            is_closed: false,
            last_sequence: 0,
            last_id: 0,
            settings,
        }
    }

    /// Takes a record in. When that takes the queue above its bounds, the oldest records that are not in
    /// flight are dropped; one that does not fit beside what is in flight is dropped itself, and no other.
    /// After a shutdown nothing gets in.
    pub fn push(&mut self, record: Record, now: Timestamp) -> Pushed {
        let recorded = self.clock.advance(now);
        self.last_sequence += 1;
        self.totals.recorded += 1;
        let queued = Queued { sequence: self.last_sequence, recorded, lease: None, group: 0, record };
        let fits = self.leases.records() < self.settings.queue_records
            && self.leases.bytes() + queued.record.len() <= self.settings.queue_bytes;
        if self.is_closed || !fits {
            let reason = if self.is_closed { DropReason::Shutdown } else { DropReason::QueueFull };
            self.settle(&queued, Fate::Dropped(reason));
            return Pushed::Dropped(reason);
        }
        self.lane(queued.record.kind()).queue.push(queued);
        loop {
            let stats = self.stats();
            if stats.queued + stats.leased <= self.settings.queue_records as u64
                && stats.bytes <= self.settings.queue_bytes as u64
            {
                return Pushed::Queued;
            }
            let oldest =
                self.lanes.iter_mut().min_by_key(|lane| lane.queue.oldest_sequence().unwrap_or(u64::MAX));
            let Some(oldest) = oldest.and_then(|lane| lane.queue.pop_oldest()) else { return Pushed::Queued };
            self.settle(&oldest, Fate::Dropped(DropReason::QueueFull));
        }
    }

    /// Counts records that were lost with an exporter this one replaces. The next report tells of them.
    pub fn count_lost(&mut self, records: u64) {
        self.totals.recorded += records;
        self.totals.dropped += records;
        self.unreported.count(DropReason::StateLost, records);
    }

    /// Begins a flush of what was recorded so far, waiting or in flight.
    pub fn begin_flush(&mut self, settings: impl Into<FlushSettings>, now: Timestamp) -> FlushId {
        self.begin(settings.into(), now)
    }

    fn begin(&mut self, settings: FlushSettings, now: Timestamp) -> FlushId {
        self.is_closed |= settings.is_last;
        let now = self.clock.advance(now);
        self.forget_dead_flushes(now);
        let mut flush = Flush::new(settings, self.last_sequence, now);
        if flush.scope == Scope::Everything {
            flush.report.drop_reasons = std::mem::take(&mut self.unreported);
        }
        for lane in &self.lanes {
            flush.count_covered(lane.queue.iter());
        }
        for lease in self.leases.iter() {
            flush.count_covered(lease.batch.iter());
        }
        let id = FlushId(self.next_id());
        self.flushes.insert(id.0, flush);
        id
    }

    /// What the driver of this flush does next. A flush that is over, or unknown, is done at once.
    pub fn poll(&mut self, id: FlushId, now: Timestamp) -> Action {
        let now = self.clock.advance(now);
        self.reclaim_expired_leases(now);
        self.drop_expired_records(now);
        let Some(flush) = self.flushes.get(id.0) else {
            return Action::Done(FlushReport::nothing_to_do());
        };
        if flush.outstanding == 0 || flush.is_over(now) {
            return self.finish(id, now);
        }

        let mut next = (!self.leases.is_empty()).then(|| flush.look_again(now));
        // A flush has one request in flight at a time, however often it is polled.
        let is_sending = self.leases.iter().any(|lease| lease.flush == id);
        if !is_sending && flush.may_send(now) {
            for kind in RecordKind::ALL {
                let lane = &self.lanes[kind as usize];
                if !self.has_waiting(flush, kind) {
                    continue;
                }
                let opens = lane.opens();
                // Of a server that may still refuse everything, one request finds that out for all.
                let is_probed = lane.is_misconfigured() && self.leases.iter().any(|lease| lease.kind == kind);
                if opens <= now && !is_probed {
                    return Action::Send(self.lease(id, kind, now));
                }
                if !lane.is_misconfigured() && opens < flush.sends_until {
                    next = Some(next.map_or(opens, |next| next.min(opens)));
                }
            }
        }
        let (ending, may_send) = (flush.ending, flush.may_send(now));
        let wait_at_most = if may_send { flush.sends_until } else { flush.deadline };
        if let Ending::HandOver(bytes) = ending
            && !is_sending
            && (next.is_none() || !may_send)
            && let Some(request) = self.lease_for_overflow(id, bytes, now)
        {
            return Action::HandOver(request);
        }
        match next {
            Some(next) => Action::WaitUntil(self.clock.host_time(next.min(wait_at_most))),
            None => self.finish(id, now),
        }
    }

    /// Takes in what became of a request. An answer may come after its lease has expired: the records it
    /// settles that are back in the queue are then not sent again.
    pub fn handle_response(&mut self, id: LeaseId, outcome: &Outcome, now: Timestamp) {
        let now = self.clock.advance(now);
        let decision = retry::classify(outcome);
        let Some(lease) = self.leases.remove(id.0) else {
            if decision == Decision::Delivered {
                self.take_late_answer(id, outcome);
            }
            return;
        };
        let flush = lease.flush;
        let totals = self.totals;
        self.apply(decision, lease, outcome, now);
        if let Some(flush) = self.flushes.get_mut(flush.0) {
            match outcome {
                Outcome::Response { .. } => flush.report.requests += 1,
                Outcome::Failed { ambiguous } => flush.report.ambiguous += u64::from(*ambiguous),
            }
            flush.in_vain += u32::from(self.totals.delivered == totals.delivered);
        }
    }

    /// Takes in whether the durable overflow has accepted a request. Once it refuses, this flush retains the rest.
    pub fn handle_hand_over(&mut self, id: LeaseId, is_accepted: bool) {
        let Some(lease) = self.leases.remove(id.0) else { return };
        if is_accepted {
            for queued in &lease.batch {
                self.settle(queued, Fate::HandedOver);
            }
            return;
        }
        if let Some(flush) = self.flushes.get_mut(lease.flush.0) {
            flush.ending = Ending::Retain;
        }
        self.restore(lease, false);
    }

    /// Whether a flush has begun that is not over, be its driver alive or dead.
    #[must_use]
    pub fn is_flushing(&self) -> bool {
        !self.flushes.is_empty()
    }

    /// Totals since the exporter was made.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let queues = || self.lanes.iter().map(|lane| &lane.queue);
        Stats {
            queued: queues().map(|queue| queue.len() as u64).sum(),
            leased: self.leases.records() as u64,
            bytes: queues().map(|queue| queue.bytes() as u64).sum::<u64>() + self.leases.bytes() as u64,
            ..self.totals
        }
    }

    fn lane(&mut self, kind: RecordKind) -> &mut Lane {
        &mut self.lanes[kind as usize]
    }

    /// Whether records wait that the flush covers.
    fn has_waiting(&self, flush: &Flush, kind: RecordKind) -> bool {
        let queue = &self.lanes[kind as usize].queue;
        queue
            .iter()
            .take_while(|queued| queued.sequence <= flush.watermark)
            .any(|queued| flush.covers(queued))
    }

    fn apply(&mut self, decision: Decision, mut lease: Lease, outcome: &Outcome, now: Timestamp) {
        let kind = lease.kind;
        match decision {
            Decision::Delivered => {
                let again = self.deliver(lease.batch, outcome);
                let lane = self.lane(kind);
                match again.first() {
                    Some(first) => {
                        lane.back_off(outcome.retry_after(), outcome.status(), first.record.seed(), now)
                    }
                    None => lane.resume(),
                }
                lane.queue.restore(again);
            }
            Decision::Retry { after } => {
                let jitter = lease.batch.first().map_or(0, |queued| queued.record.seed());
                self.lane(kind).back_off(after, outcome.status(), jitter, now);
                let is_ambiguous = matches!(outcome, Outcome::Failed { ambiguous: true });
                self.restore(lease, is_ambiguous);
            }
            Decision::Misconfigured => {
                self.lane(kind).close(outcome.status(), now);
                self.restore(lease, false);
            }
            Decision::TooLarge if lease.batch.len() > 1 => {
                self.lane(kind).resume();
                if self.lane(kind).learn_limit(lease.body_len, now) {
                    self.restore(lease, false);
                } else {
                    self.restore_halved(lease);
                }
            }
            Decision::Refused if lease.batch.len() > 1 => {
                self.lane(kind).resume();
                self.restore_halved(lease);
            }
            Decision::TooLarge | Decision::Refused => {
                self.lane(kind).resume();
                let Outcome::Response { status, message, .. } = outcome else { return };
                let Some(mut queued) = lease.batch.pop() else { return };
                match queued.record.without_payload() {
                    Some(smaller) if decision == Decision::TooLarge => {
                        queued.record = smaller;
                        self.lane(kind).queue.restore(vec![queued]);
                    }
                    _ => self.settle(&queued, Fate::Rejected { status: *status, message }),
                }
            }
        }
    }

    /// Settles what an answer to a batch settles; gives back what is to be sent again.
    fn deliver(&mut self, batch: Vec<Queued>, outcome: &Outcome) -> Vec<Queued> {
        let mut again = Vec::new();
        for queued in batch {
            match outcome.reception(&queued.record) {
                Reception::Delivered => self.settle(&queued, Fate::Delivered),
                Reception::Refused { status, message } => {
                    self.settle(&queued, Fate::Rejected { status, message });
                }
                Reception::Retry => again.push(queued),
            }
        }
        again
    }

    fn take_late_answer(&mut self, id: LeaseId, outcome: &Outcome) {
        for kind in RecordKind::ALL {
            let batch = self.lane(kind).queue.take_sent_under(id.0);
            let again = self.deliver(batch, outcome);
            self.lane(kind).queue.restore(again);
        }
    }

    /// Puts a batch back. One that may have arrived is sent again, unless the settings say otherwise.
    fn restore(&mut self, lease: Lease, is_ambiguous: bool) {
        if is_ambiguous && self.settings.gives_up_ambiguous {
            for queued in &lease.batch {
                self.settle(queued, Fate::Dropped(DropReason::Ambiguous));
            }
        } else {
            self.lane(lease.kind).queue.restore(lease.batch);
        }
    }

    /// Puts a batch back as two groups that travel apart, to find what the server refuses in few requests.
    fn restore_halved(&mut self, mut lease: Lease) {
        let (first, second) = (self.next_id(), self.next_id());
        let middle = lease.batch.len() / 2;
        for (index, queued) in lease.batch.iter_mut().enumerate() {
            queued.group = if index < middle { first } else { second };
        }
        self.restore(lease, false);
    }

    /// The next request of this flush.
    fn lease(&mut self, id: FlushId, kind: RecordKind, now: Timestamp) -> Request {
        let Settings { batch_bytes, batch_records, .. } = self.settings;
        let overhead = self.bodies.overhead(kind);
        let lane = &mut self.lanes[kind as usize];
        let room = lane.room(batch_bytes, overhead, batch_records, now);
        let batch = match self.flushes.get(id.0) {
            Some(flush) if flush.scope != Scope::Everything => {
                lane.queue.take_batch_with(room, |queued| flush.covers(queued))
            }
            _ => lane.queue.take_batch(room),
        };
        self.put_under_lease(id, kind, false, batch, now)
    }

    /// Records for the overflow, when any are left that it can take.
    fn lease_for_overflow(&mut self, id: FlushId, bytes: usize, now: Timestamp) -> Option<Request> {
        let flush = self.flushes.get(id.0)?;
        for kind in RecordKind::ALL {
            let room = bytes.saturating_sub(self.bodies.overhead(kind));
            let fits = |queued: &Queued| flush.covers(queued) && queued.record.framed_len() <= room;
            let queue = &mut self.lanes[kind as usize].queue;
            let batch = queue.take_only(Room::new(room, self.settings.batch_records), fits);
            if !batch.is_empty() {
                return Some(self.put_under_lease(id, kind, true, batch, now));
            }
        }
        None
    }

    fn put_under_lease(
        &mut self,
        flush: FlushId,
        kind: RecordKind,
        is_overflow: bool,
        mut batch: Vec<Queued>,
        now: Timestamp,
    ) -> Request {
        let lease = LeaseId(self.next_id());
        for queued in &mut batch {
            queued.lease = Some(lease.0);
        }
        let body = self.bodies.body(kind, batch.iter().map(|queued| &queued.record));
        let mut timeout = self.settings.attempt_timeout;
        if let Some(flush) = self.flushes.get_mut(flush.0) {
            let end = if is_overflow { flush.deadline } else { flush.sends_until };
            timeout = timeout.min(end.since(now));
            if !is_overflow {
                flush.report.attempts += 1;
                flush.report.bytes += body.len() as u64;
            }
        }
        let expires = now + timeout + LEASE_GRACE;
        self.leases.insert(lease.0, Lease { flush, kind, expires, batch, body_len: body.len() });
        Request { lease, kind, body, timeout }
    }

    fn forget_dead_flushes(&mut self, now: Timestamp) {
        for flush in self.flushes.values_mut() {
            flush.note_if_overdue(now);
        }
        while let Some(dead) = self.flushes.remove_one(|flush| flush.is_dead(now)) {
            // Nobody has read its report.
            self.unreported.add(&dead.report.drop_reasons);
        }
    }

    fn reclaim_expired_leases(&mut self, now: Timestamp) {
        while let Some(lease) = self.leases.remove_one(|lease| lease.expires <= now) {
            if let Some(flush) = self.flushes.get_mut(lease.flush.0) {
                flush.report.ambiguous += 1;
            }
            self.restore(lease, true);
        }
    }

    /// Counts what became of a record, in the totals and in every flush that covers it.
    fn settle(&mut self, queued: &Queued, fate: Fate<'_>) {
        *match fate {
            Fate::Delivered => &mut self.totals.delivered,
            Fate::Rejected { .. } => &mut self.totals.rejected,
            Fate::Dropped(_) => &mut self.totals.dropped,
            Fate::HandedOver => &mut self.totals.handed_over,
        } += 1;
        let mut is_told = false;
        for flush in self.flushes.values_mut() {
            is_told |= flush.settle(queued, fate);
        }
        if let (Fate::Dropped(reason), false) = (fate, is_told) {
            self.unreported.count(reason, 1);
        }
    }

    fn drop_expired_records(&mut self, now: Timestamp) {
        let max_age = self.settings.max_age;
        for kind in RecordKind::ALL {
            let is_old = |queued: &Queued| queued.recorded + max_age <= now;
            while let Some(queued) = self.lane(kind).queue.pop_oldest_if(is_old) {
                self.settle(&queued, Fate::Dropped(DropReason::Expired));
            }
        }
    }

    /// What a shutdown could not deliver, also when it is still on its way: nobody will take the answer in.
    fn drop_everything(&mut self) {
        while let Some(lease) = self.leases.remove_one(|_| true) {
            self.restore(lease, false);
        }
        for kind in RecordKind::ALL {
            while let Some(queued) = self.lane(kind).queue.pop_oldest() {
                self.settle(&queued, Fate::Dropped(DropReason::Shutdown));
            }
        }
    }

    fn finish(&mut self, id: FlushId, now: Timestamp) -> Action {
        if self.flushes.get(id.0).is_some_and(|flush| flush.ending == Ending::Drop) {
            self.drop_everything();
        }
        let Some(mut flush) = self.flushes.remove(id.0) else {
            return Action::Done(FlushReport::nothing_to_do());
        };
        flush.report.finish(flush.outstanding, now.since(flush.started));
        if !flush.report.ok {
            flush.report.last_status = self.lanes.iter().find_map(Lane::last_status);
        }
        Action::Done(flush.report)
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}
