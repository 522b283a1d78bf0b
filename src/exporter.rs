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
//! A batch in flight stays here, under a lease with a deadline. A driver that dies (its request cancelled, its
//! isolate frozen, its promise never settled) never comes back to say so; when the lease expires the records
//! return to the queue, and the next flush of anyone sends them.

use std::fmt;
use std::time::Duration;

use crate::observation::beginning;
use crate::queue::{Queue, Queued};
use crate::report::{DropReason, DropReasons, FlushReport, Rejection, Stats};
use crate::retry::{self, Decision, Outcome};
use crate::table::Table;
use crate::time::{SteadyClock, Timestamp};
use crate::wire::Record;
use crate::wire::otlp::Preamble;

/// Names a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlushId(u64);

/// Names a batch in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseId(u64);

macro_rules! number {
    ($name:ident) => {
        impl $name {
            /// The id as a number that survives a trip through JavaScript.
            #[must_use]
            pub fn as_f64(self) -> f64 {
                self.0 as f64
            }

            /// The id a number stands for.
            #[must_use]
            pub fn from_f64(number: f64) -> Self {
                Self(number as u64)
            }
        }
    };
}

number!(FlushId);
number!(LeaseId);

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
    /// The body, `application/x-protobuf`.
    pub body: Vec<u8>,
    /// Give up after this long, and report [`Outcome::Failed`].
    pub timeout: Duration,
}

/// Without the body, which is what the user recorded.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lease, body, timeout } = self;
        write!(f, "Request {{ lease: {lease:?}, body: {} bytes, timeout: {timeout:?} }}", body.len())
    }
}

/// What a driver does next.
#[derive(Debug)]
pub enum Action {
    /// Send the request, hand the outcome to [`Exporter::handle_response`], then poll again.
    Send(Request),
    /// Wait until then, and poll again. Polling earlier does no harm.
    WaitUntil(Timestamp),
    /// The flush is over.
    Done(FlushReport),
}

/// Beyond an attempt's timeout, so that only a dead driver's lease expires.
const LEASE_GRACE: Duration = Duration::from_secs(2);
/// How long after it was seen overdue a flush is taken for dead.
const FORGET_AFTER: Duration = Duration::from_secs(30);
/// An attempt with less time than this would be a request whose answer nobody waits for.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(20);
/// A flush that has made this many requests in vain leaves the rest to the next one: each is a subrequest of the
/// user's, of which a Worker has 50 on the free plan.
const REQUESTS_IN_VAIN: u32 = 40;
/// How long requests stop after an answer that says that none can succeed.
const MISCONFIGURED_PAUSE: Duration = Duration::from_secs(30);
/// A flush that waits for another's batch looks again after a quarter of the time it has waited, within these.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(200));
/// No limit learned from a 413 goes below this: a server that refuses everything must not end in single bytes.
const SMALLEST_BATCH_BYTES: usize = 16 * 1024;
/// How much of a server's words a report keeps.
const REJECTION_MESSAGE_BYTES: usize = 300;

/// The state machine. See the [module](self).
#[derive(Debug)]
pub struct Exporter {
    settings: Settings,
    preamble: Preamble,
    clock: SteadyClock,
    queue: Queue,
    leases: Table<Lease>,
    leased: Leased,
    flushes: Table<Flush>,
    pause: Pause,
    batch_bytes: usize,
    totals: Stats,
    /// Records given up while no flush covered them, for the next report to tell.
    unreported: DropReasons,
    /// The last flush has begun: nothing gets in any more.
    is_closed: bool,
    last_sequence: u64,
    last_id: u64,
}

#[derive(Debug)]
struct Lease {
    flush: FlushId,
    expires: Timestamp,
    batch: Vec<Queued>,
    body_len: usize,
}

/// What the leases hold together, counted so that a push need not walk them.
#[derive(Debug, Default)]
struct Leased {
    records: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Flush {
    /// Records up to this sequence number were recorded before the flush began.
    watermark: u64,
    /// What it cannot deliver is dropped.
    is_last: bool,
    started: Timestamp,
    deadline: Timestamp,
    /// When another flush found this one past its deadline.
    overdue_since: Option<Timestamp>,
    /// Covered records of which nothing has become yet.
    outstanding: u64,
    /// Requests that delivered nothing.
    in_vain: u32,
    report: FlushReport,
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
}

impl Pause {
    fn end(&self) -> Timestamp {
        self.until.max(self.named)
    }
}

#[derive(Clone, Copy)]
enum Fate<'a> {
    Delivered,
    Rejected { status: u16, message: &'a str },
    Dropped(DropReason),
}

impl Exporter {
    /// An empty exporter.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            preamble: Preamble::new(),
            clock: SteadyClock::default(),
            queue: Queue::default(),
            leases: Table::new(),
            leased: Leased::default(),
            flushes: Table::new(),
            pause: Pause::default(),
            batch_bytes: settings.batch_bytes,
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
        let fits = self.leased.records < self.settings.queue_records
            && self.leased.bytes + queued.record.len() <= self.settings.queue_bytes;
        if self.is_closed || !fits {
            let reason = if self.is_closed { DropReason::Shutdown } else { DropReason::QueueFull };
            self.settle(&queued, Fate::Dropped(reason));
            return Pushed::Dropped(reason);
        }
        self.queue.push(queued);
        while self.queue.len() + self.leased.records > self.settings.queue_records
            || self.queue.bytes() + self.leased.bytes > self.settings.queue_bytes
        {
            let Some(oldest) = self.queue.pop_oldest() else { break };
            self.settle(&oldest, Fate::Dropped(DropReason::QueueFull));
        }
        Pushed::Queued
    }

    /// Counts records that were lost with the exporter that held them. The next flush reports them.
    pub fn count_lost(&mut self, records: u64) {
        self.totals.recorded += records;
        self.totals.dropped += records;
        self.unreported.state_lost += records;
    }

    /// Begins a flush of everything recorded so far, waiting or in flight, which is over after `budget`.
    pub fn begin_flush(&mut self, budget: Duration, now: Timestamp) -> FlushId {
        self.begin(false, budget, now)
    }

    /// Begins the last flush. From now on nothing gets in, and what it cannot deliver is dropped.
    pub fn begin_shutdown(&mut self, budget: Duration, now: Timestamp) -> FlushId {
        self.is_closed = true;
        self.begin(true, budget, now)
    }

    fn begin(&mut self, is_last: bool, budget: Duration, now: Timestamp) -> FlushId {
        let now = self.clock.advance(now);
        self.forget_dead_flushes(now);
        let id = FlushId(self.next_id());
        self.flushes.insert(
            id.0,
            Flush {
                watermark: self.last_sequence,
                is_last,
                started: now,
                deadline: now + budget,
                overdue_since: None,
                outstanding: (self.queue.len() + self.leased.records) as u64,
                in_vain: 0,
                report: FlushReport {
                    drop_reasons: std::mem::take(&mut self.unreported),
                    ..FlushReport::default()
                },
            },
        );
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
        if flush.outstanding == 0 || flush.deadline.since(now) < SHORTEST_ATTEMPT {
            return self.finish(id, now);
        }

        let (low, high) = LOOK_AGAIN;
        let look_again = now + (now.since(flush.started) / 4).clamp(low, high);
        let has_waiting = self.queue.oldest_sequence().is_some_and(|oldest| oldest <= flush.watermark);
        // A flush has one request in flight at a time, however often it is polled.
        let next = if has_waiting && !self.leases.values().any(|lease| lease.flush == id) {
            let pause_end = self.pause.end();
            // Of a server that may still refuse everything, one request finds that out for all.
            let another_probes = self.pause.misconfigured && !self.leases.is_empty();
            let is_weary = flush.in_vain >= REQUESTS_IN_VAIN;
            if pause_end <= now && !another_probes && !is_weary {
                return Action::Send(self.lease(id, now));
            }
            let cannot_send = self.pause.misconfigured || pause_end >= flush.deadline || is_weary;
            match (cannot_send, self.leases.is_empty()) {
                (true, true) => return self.finish(id, now),
                (true, false) => look_again,
                (false, true) => pause_end,
                (false, false) => pause_end.min(look_again),
            }
        } else {
            look_again
        };
        Action::WaitUntil(self.clock.host_time(next.min(flush.deadline)))
    }

    /// Takes in what became of a request. An answer may come after its lease has expired: the records it
    /// settles that are back in the queue are then not sent again.
    pub fn handle_response(&mut self, id: LeaseId, outcome: &Outcome, now: Timestamp) {
        let now = self.clock.advance(now);
        let decision = retry::classify(outcome);
        let Some(lease) = self.leases.remove(id.0) else {
            if decision == Decision::Delivered {
                for queued in self.queue.take_sent_under(id.0) {
                    self.settle(&queued, Fate::Delivered);
                }
            }
            return;
        };
        self.release(&lease);
        if let Some(flush) = self.flushes.get_mut(lease.flush.0) {
            match outcome {
                Outcome::Response { .. } => flush.report.requests += 1,
                Outcome::Failed { ambiguous } => flush.report.ambiguous += u64::from(*ambiguous),
            }
            flush.in_vain += u32::from(decision != Decision::Delivered);
        }
        self.apply(decision, lease, outcome, now);
    }

    /// Whether a flush has begun that is not over, be its driver alive or dead.
    #[must_use]
    pub fn is_flushing(&self) -> bool {
        !self.flushes.is_empty()
    }

    /// Totals since the exporter was made.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            queued: self.queue.len() as u64,
            leased: self.leased.records as u64,
            bytes: (self.queue.bytes() + self.leased.bytes) as u64,
            ..self.totals
        }
    }

    fn apply(&mut self, decision: Decision, lease: Lease, outcome: &Outcome, now: Timestamp) {
        if !matches!(decision, Decision::Retry { .. } | Decision::Misconfigured) {
            self.pause = Pause { named: self.pause.named, ..Pause::default() };
        }
        match decision {
            Decision::Delivered => {
                for queued in &lease.batch {
                    self.settle(queued, Fate::Delivered);
                }
            }
            Decision::Retry { after } => {
                let failures = self.pause.failures + 1;
                let backoff = retry::backoff(failures, jitter(&lease.batch, failures));
                self.pause = Pause {
                    until: self.pause.until.max(now + backoff),
                    named: after.map_or(self.pause.named, |after| self.pause.named.max(now + after)),
                    failures,
                    misconfigured: false,
                };
                self.queue.restore(lease.batch);
            }
            Decision::Misconfigured => {
                let until = now + MISCONFIGURED_PAUSE;
                self.pause = Pause { until, named: self.pause.named, failures: 0, misconfigured: true };
                self.queue.restore(lease.batch);
            }
            Decision::TooLarge if lease.batch.len() > 1 => {
                let half = lease.body_len / 2;
                self.batch_bytes = self.batch_bytes.min(half.max(SMALLEST_BATCH_BYTES));
                if half < SMALLEST_BATCH_BYTES {
                    self.restore_halved(lease.batch);
                } else {
                    self.queue.restore(lease.batch);
                }
            }
            Decision::Refused if lease.batch.len() > 1 => self.restore_halved(lease.batch),
            Decision::TooLarge | Decision::Refused => {
                for mut queued in lease.batch {
                    match queued.record.without_payload() {
                        Some(smaller) if decision == Decision::TooLarge => {
                            queued.record = smaller;
                            self.queue.restore(vec![queued]);
                        }
                        _ => {
                            let Outcome::Response { status, message, .. } = outcome else { continue };
                            self.settle(&queued, Fate::Rejected { status: *status, message });
                        }
                    }
                }
            }
        }
    }

    /// Puts a batch back as two groups that travel apart, to find what the server refuses in few requests.
    fn restore_halved(&mut self, mut batch: Vec<Queued>) {
        let (first, second) = (self.next_id(), self.next_id());
        let middle = batch.len() / 2;
        for (index, queued) in batch.iter_mut().enumerate() {
            queued.group = if index < middle { first } else { second };
        }
        self.queue.restore(batch);
    }

    fn lease(&mut self, id: FlushId, now: Timestamp) -> Request {
        let lease = LeaseId(self.next_id());
        let room = self.batch_bytes.saturating_sub(self.preamble.overhead());
        let mut batch = self.queue.take_batch(room, self.settings.batch_records);
        for queued in &mut batch {
            queued.lease = Some(lease.0);
        }
        let body = self.preamble.body(batch.iter().map(|queued| &queued.record));
        let mut timeout = self.settings.attempt_timeout;
        if let Some(flush) = self.flushes.get_mut(id.0) {
            timeout = timeout.min(flush.deadline.since(now));
            flush.report.attempts += 1;
            flush.report.bytes += body.len() as u64;
        }
        self.leased.records += batch.len();
        self.leased.bytes += batch_bytes(&batch);
        let expires = now + timeout + LEASE_GRACE;
        self.leases.insert(lease.0, Lease { flush: id, expires, batch, body_len: body.len() });
        Request { lease, body, timeout }
    }

    fn release(&mut self, lease: &Lease) {
        self.leased.records -= lease.batch.len();
        self.leased.bytes -= batch_bytes(&lease.batch);
    }

    /// A flush is dead when it was seen overdue and its driver still has not asked for its report a while later. To be
    /// past its deadline is not enough: a clock that jumps forward is there before the living driver wakes.
    fn forget_dead_flushes(&mut self, now: Timestamp) {
        for flush in self.flushes.values_mut().filter(|flush| flush.deadline <= now) {
            flush.overdue_since.get_or_insert(now);
        }
        let is_dead = |flush: &Flush| flush.overdue_since.is_some_and(|since| since + FORGET_AFTER <= now);
        while let Some(dead) = self.flushes.remove_one(is_dead) {
            // Nobody has read its report.
            self.unreported.add(&dead.report.drop_reasons);
        }
    }

    fn reclaim_expired_leases(&mut self, now: Timestamp) {
        while let Some(lease) = self.leases.remove_one(|lease| lease.expires <= now) {
            self.release(&lease);
            if let Some(flush) = self.flushes.get_mut(lease.flush.0) {
                flush.report.ambiguous += 1;
            }
            self.queue.restore(lease.batch);
        }
    }

    /// Counts what became of a record, in the totals and in every flush that covers it.
    fn settle(&mut self, queued: &Queued, fate: Fate<'_>) {
        match fate {
            Fate::Delivered => self.totals.delivered += 1,
            Fate::Rejected { .. } => self.totals.rejected += 1,
            Fate::Dropped(_) => self.totals.dropped += 1,
        }
        let mut is_covered = false;
        for flush in self.flushes.values_mut().filter(|flush| queued.sequence <= flush.watermark) {
            is_covered = true;
            flush.outstanding -= 1;
            match fate {
                Fate::Delivered => flush.report.delivered += 1,
                Fate::Rejected { status, message } => flush.report.rejected.push(Rejection {
                    id: queued.record.id().to_hex(),
                    status,
                    message: beginning(message, REJECTION_MESSAGE_BYTES).to_owned(),
                }),
                Fate::Dropped(reason) => flush.report.drop_reasons.count(reason),
            }
        }
        if let (Fate::Dropped(reason), false) = (fate, is_covered) {
            self.unreported.count(reason);
        }
    }

    fn drop_expired_records(&mut self, now: Timestamp) {
        let max_age = self.settings.max_age;
        while let Some(queued) = self.queue.pop_oldest_if(|queued| queued.recorded + max_age <= now) {
            self.settle(&queued, Fate::Dropped(DropReason::Expired));
        }
    }

    /// What a shutdown could not deliver, also when it is still on its way: nobody will take the answer in.
    fn drop_everything(&mut self) {
        while let Some(lease) = self.leases.remove_one(|_| true) {
            self.release(&lease);
            self.queue.restore(lease.batch);
        }
        while let Some(queued) = self.queue.pop_oldest() {
            self.settle(&queued, Fate::Dropped(DropReason::Shutdown));
        }
    }

    fn finish(&mut self, id: FlushId, now: Timestamp) -> Action {
        if self.flushes.get(id.0).is_some_and(|flush| flush.is_last) {
            self.drop_everything();
        }
        let Some(mut flush) = self.flushes.remove(id.0) else {
            return Action::Done(FlushReport::nothing_to_do());
        };
        flush.report.finish(flush.outstanding, now.since(flush.started));
        Action::Done(flush.report)
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

fn batch_bytes(batch: &[Queued]) -> usize {
    batch.iter().map(|queued| queued.record.len()).sum()
}

/// Observation ids are random already, so the jitter is drawn from the batch's first one; the number of
/// failures is mixed in (by the 32-bit golden ratio) so that the next draw differs.
fn jitter(batch: &[Queued], failures: u32) -> u32 {
    let id = batch.first().map_or([0; 8], |queued| *queued.record.id().as_bytes());
    let random = u32::from_le_bytes([id[0], id[1], id[2], id[3]]);
    (random ^ failures).wrapping_mul(0x9e37_79b9)
}
