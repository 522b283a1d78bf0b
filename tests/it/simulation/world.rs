//! Drivers, a server that remembers what it has, and a clock that anybody may set.

use std::time::Duration;

use langfuse_edge::exporter::{Action, Exporter, FlushId, LeaseId, Pushed, Request, Settings};
use langfuse_edge::retry::{Outcome, parse_retry_after};
use langfuse_edge::{DropReason, FlushReport, Timestamp};

use super::ledger::{Entry, Fate, Ledger, Tally};
use crate::body;
use crate::host::{millis, secs};
use crate::records::{START, record_with_input, record_with_metadata};

/// An attempt with less time than this is not begun.
const SHORTEST_ATTEMPT: Duration = millis(20);
/// Longer than any pause, lease or flush.
const HEALING: Duration = secs(700);

/// What the server does with a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    /// What a sound server says: 413 above its limit, 400 to anything poisonous, else 200.
    Honest,
    Status(u16, Option<&'static str>),
    /// The connection is refused, so nothing has arrived.
    Refused,
    /// The connection is lost, after the body was taken in or before.
    Lost {
        has_arrived: bool,
    },
}

pub(super) struct World {
    exporter: Exporter,
    settings: Settings,
    ledger: Ledger,
    server_limit: usize,
    requests: Vec<Sent>,
    drivers: Vec<Driver>,
    over: Vec<FlushId>,
    /// Time since the story began, which no clock setting changes.
    now: Duration,
    /// What the clock showed when the story began, by its present setting.
    clock: Timestamp,
    /// What the exporter was last told.
    last_read: Timestamp,
    /// The time that has passed by the readings the exporter was given, steps back left out.
    steady: Duration,
}

/// A request on its way or behind it.
struct Sent {
    lease: LeaseId,
    ids: Vec<u64>,
    body_len: usize,
    outcome: Option<Outcome>,
}

/// Drives one flush.
struct Driver {
    flush: FlushId,
    /// When it goes on.
    due: Duration,
    /// The request it waits for, by its place.
    in_flight: Option<usize>,
}

impl World {
    pub(super) fn new(settings: Settings, server_limit: usize) -> Self {
        Self {
            exporter: Exporter::new(settings),
            settings,
            ledger: Ledger::default(),
            server_limit,
            requests: Vec::new(),
            drivers: Vec::new(),
            over: Vec::new(),
            now: Duration::ZERO,
            clock: START,
            last_read: START,
            steady: Duration::ZERO,
        }
    }

    pub(super) fn push(&mut self, bytes: usize, has_payload: bool, is_poisonous: bool) {
        let id = self.ledger.records.len() as u64 + 1;
        let record = if has_payload { record_with_input(id, bytes) } else { record_with_metadata(id, bytes) };
        let len = record.len() as u64;
        let before = self.exporter.stats();
        let clock = self.read_clock();
        let pushed = self.exporter.push(record, clock);
        self.ledger.records.push(Entry {
            fate: Fate::Waiting(None),
            may_lose_payload: has_payload,
            has_large_payload: has_payload && bytes > 300,
            is_poisonous,
            is_acknowledged: false,
            may_be_doubled: false,
        });
        let dropped = self.exporter.stats().dropped - before.dropped;
        let is_too_much = before.bytes + len > self.settings.queue_bytes as u64
            || before.queued + before.leased + 1 > self.settings.queue_records as u64;
        assert_eq!(dropped > 0, is_too_much, "records are dropped when the bounds ask for it, and else not");
        if pushed == Pushed::Dropped(DropReason::QueueFull) {
            assert_eq!(dropped, 1, "a record that is dropped itself pushes no other out");
            self.ledger.drop_record(id);
        } else {
            let oldest: Vec<_> = self.ledger.waiting().take(dropped as usize).collect();
            assert!(!oldest.contains(&id), "a record that was dropped is said to be queued");
            oldest.into_iter().for_each(|id| self.ledger.drop_record(id));
        }
        self.check();
    }

    pub(super) fn begin_flush(&mut self, budget: Duration) {
        let clock = self.read_clock();
        let flush = self.exporter.begin_flush(budget, clock);
        self.ledger.begin_flush(flush, budget, self.steady);
        self.drivers.push(Driver { flush, due: self.now, in_flight: None });
        self.check();
    }

    /// A driver polls though nobody has asked it to.
    pub(super) fn poll_early(&mut self, driver: usize) {
        if !self.drivers.is_empty() {
            self.poll(driver % self.drivers.len());
        }
    }

    pub(super) fn poll_what_is_over(&mut self, flush: usize) {
        if !self.over.is_empty() {
            let flush = self.over[flush % self.over.len()];
            let clock = self.read_clock();
            self.ledger.reclaim(self.steady);
            let action = self.exporter.poll(flush, clock);
            assert!(matches!(action, Action::Done(report) if report == FlushReport::nothing_to_do()));
            self.check();
        }
    }

    /// The server answers one of the requests it has not answered; the client may never hear of it.
    pub(super) fn answer(&mut self, request: usize, answer: Answer, is_heard: bool) {
        let open = self.requests.iter().enumerate().filter(|(_, sent)| sent.outcome.is_none());
        let open: Vec<_> = open.map(|(index, _)| index).collect();
        if !open.is_empty() {
            self.answer_request(open[request % open.len()], answer, is_heard);
        }
    }

    fn answer_request(&mut self, index: usize, answer: Answer, is_heard: bool) {
        let outcome = self.take_in(index, answer);
        self.requests[index].outcome = Some(outcome.clone());
        if is_heard {
            let waiting = self.drivers.iter_mut().find(|driver| driver.in_flight == Some(index));
            if let Some(driver) = waiting {
                driver.in_flight = None;
                driver.due = self.now;
            }
            self.hear(self.requests[index].lease, &outcome);
        }
    }

    /// The server works as it should for a while.
    pub(super) fn serve_all(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.wait(millis(5));
            for index in 0..self.requests.len() {
                if self.requests[index].outcome.is_none() {
                    self.answer_request(index, Answer::Honest, true);
                }
            }
        }
    }

    pub(super) fn answer_again(&mut self, request: usize) {
        let answered: Vec<_> =
            self.requests.iter().filter_map(|sent| Some((sent.lease, sent.outcome.clone()?))).collect();
        if !answered.is_empty() {
            let (lease, outcome) = &answered[request % answered.len()];
            // Of an answer that nobody heard, this is the first that is heard, and the driver goes on.
            let heard = self.requests.iter().position(|sent| sent.lease == *lease);
            for driver in self.drivers.iter_mut().filter(|driver| driver.in_flight == heard) {
                driver.in_flight = None;
                driver.due = self.now;
            }
            self.hear(*lease, outcome);
        }
    }

    pub(super) fn answer_unknown(&mut self, number: f64, status: u16) {
        let lease = LeaseId::from_f64(number);
        if !self.requests.iter().any(|sent| sent.lease == lease) {
            self.hear(
                lease,
                &Outcome::Response {
                    status,
                    retry_after: None,
                    message: String::new(),
                    verdicts: Vec::new(),
                },
            );
        }
    }

    /// A driver dies without a word.
    pub(super) fn kill(&mut self, driver: usize) {
        if !self.drivers.is_empty() {
            let driver = self.drivers.remove(driver % self.drivers.len());
            if let Some(index) = driver.in_flight {
                self.ledger.doubt(&self.requests[index].ids);
            }
        }
    }

    /// Time passes, and every driver does what is due.
    pub(super) fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = self.drivers.iter().enumerate().min_by_key(|(_, driver)| driver.due);
            let Some((index, due)) = next.map(|(index, driver)| (index, driver.due)) else { break };
            if due > end {
                break;
            }
            self.now = self.now.max(due);
            if let Some(request) = self.drivers[index].in_flight.take() {
                self.ledger.doubt(&self.requests[request].ids);
                self.hear(self.requests[request].lease, &Outcome::Failed { ambiguous: true });
            }
            self.poll(index);
        }
        self.now = end;
    }

    pub(super) fn set_clock(&mut self, ms: i64) {
        let nanos = ms.unsigned_abs() * 1_000_000;
        let now = self.clock.as_nanos();
        self.clock = Timestamp::from_nanos(if ms < 0 { now - nanos } else { now + nanos });
    }

    /// The server works as it should and time passes: then flushing settles all that is left. A server that
    /// takes everything again gets everything.
    pub(super) fn heal(&mut self, takes_everything: bool) {
        if takes_everything {
            self.server_limit = usize::MAX;
            self.ledger.records.iter_mut().for_each(|entry| entry.is_poisonous = false);
        }
        // Time that passes before a step back of the clock is noticed would not count.
        self.begin_flush(Duration::ZERO);
        self.wait(HEALING);
        assert!(self.drivers.is_empty(), "a flush outlasts its deadline");
        let before = self.exporter.stats();
        let left = (before.queued + before.leased) as usize;
        // To find what is refused takes both halves at every level, and each record may be tried without its payload.
        let most_rounds = if takes_everything { left + 1 } else { 4 * left + 20 };
        let mut rounds = 0;
        // Of a server that refuses a lot, one flush may have had enough.
        let is_left = |exporter: &Exporter| exporter.stats().queued + exporter.stats().leased > 0;
        while is_left(&self.exporter) || !self.drivers.is_empty() {
            if self.drivers.is_empty() {
                self.begin_flush(HEALING);
            }
            self.poll(0);
            match self.drivers.first().map(|driver| driver.in_flight) {
                Some(Some(request)) => self.answer_request(request, Answer::Honest, true),
                Some(None) => panic!("the last flush waits, and there is nothing to wait for"),
                None => (),
            }
            rounds += 1;
            assert!(rounds <= most_rounds, "the last flush sends {rounds} requests for {left} records");
        }
        let stats = self.exporter.stats();
        assert_eq!((stats.queued, stats.leased, stats.bytes), (0, 0, 0), "something is left");
        if takes_everything {
            assert_eq!(stats.delivered - before.delivered, left as u64, "all that was left is delivered");
        }
    }

    pub(super) fn tally(&self) -> Tally {
        let stats = self.exporter.stats();
        Tally {
            delivered: stats.delivered,
            rejected: stats.rejected,
            dropped: stats.dropped,
            ..self.ledger.tally
        }
    }

    fn poll(&mut self, driver: usize) {
        let flush = self.drivers[driver].flush;
        let clock = self.read_clock();
        self.ledger.reclaim(self.steady);
        let action = self.exporter.poll(flush, clock);
        let Some(known) = self.ledger.flush(flush) else {
            // The clock went on for long, twice, before the driver woke: to all others it looked dead.
            assert!(matches!(action, Action::Done(report) if report == FlushReport::nothing_to_do()));
            self.drivers.remove(driver);
            return self.check();
        };
        let left = known.deadline.saturating_sub(self.steady);
        let has_waiting = self.ledger.has_waiting(known);
        let has_in_flight = self.ledger.has_in_flight(flush);
        let is_weary = known.is_weary();
        let must_send = has_waiting
            && !has_in_flight
            && !is_weary
            && left >= SHORTEST_ATTEMPT
            && self.ledger.must_send(self.steady);
        match action {
            Action::Send(request) => {
                assert!(has_waiting, "nothing of this flush waits");
                assert!(!is_weary, "a flush that has asked in vain too often asks again");
                assert!(!has_in_flight, "two requests of one flush at a time");
                assert!(self.ledger.may_send(self.steady), "the server is to be left alone");
                assert!(request.timeout <= left && left >= SHORTEST_ATTEMPT, "{request:?} in {left:?}");
                self.send(driver, request);
            }
            Action::HandOver(_) => panic!("there is no overflow to hand anything to"),
            Action::WaitUntil(time) => {
                let wait = time.since(clock);
                assert!(!must_send, "nothing keeps the flush from sending");
                assert!(!wait.is_zero(), "a driver told to wait for a time that has come would spin");
                assert!(wait <= left, "told to wait {wait:?} when {left:?} are left");
                if !has_in_flight {
                    self.drivers[driver].due = self.now + wait;
                }
            }
            Action::Done(report) => {
                let is_late = left < SHORTEST_ATTEMPT;
                let is_stuck =
                    (is_weary || !self.ledger.must_send(self.steady)) && self.ledger.is_nothing_in_flight();
                assert!(
                    is_late || is_stuck || self.ledger.is_all_settled(known),
                    "a flush gives up early: {report:?}"
                );
                self.ledger.close(flush, &report, self.steady);
                self.drivers.remove(driver);
                self.over.push(flush);
            }
        }
        self.check();
    }

    fn send(&mut self, driver: usize, request: Request) {
        let ids: Vec<_> = body::spans(&request.body).iter().map(|span| span.id).collect();
        assert!(!ids.is_empty(), "a request without records");
        assert!(
            self.ledger.waiting().take(ids.len()).eq(ids.iter().copied()),
            "the oldest go first, in order"
        );
        assert!(
            ids.len() == 1
                || (ids.len() <= self.settings.batch_records
                    && request.body.len() <= self.settings.batch_bytes),
            "a request of {} records and {} bytes",
            ids.len(),
            request.body.len()
        );
        assert!(request.timeout <= self.settings.attempt_timeout);
        let driver = &mut self.drivers[driver];
        let expires = self.steady + request.timeout;
        self.ledger.lease(request.lease, driver.flush, &ids, request.body.len(), expires);
        driver.in_flight = Some(self.requests.len());
        driver.due = self.now + request.timeout;
        self.requests.push(Sent { lease: request.lease, ids, body_len: request.body.len(), outcome: None });
    }

    /// What becomes of a request at the server.
    fn take_in(&mut self, index: usize, answer: Answer) -> Outcome {
        let sent = &self.requests[index];
        let (status, retry_after) = match answer {
            Answer::Honest if sent.body_len > self.server_limit => (413, None),
            Answer::Honest if sent.ids.iter().any(|id| self.ledger.entry(*id).is_poisonous) => (400, None),
            Answer::Honest => (200, None),
            Answer::Status(status, retry_after) => (status, retry_after),
            Answer::Refused => return Outcome::Failed { ambiguous: false },
            Answer::Lost { has_arrived } => {
                self.ledger.doubt(&sent.ids);
                if has_arrived {
                    self.ledger.acknowledge(&sent.ids);
                }
                return Outcome::Failed { ambiguous: true };
            }
        };
        if status == 200 {
            self.ledger.acknowledge(&sent.ids);
        }
        let message = "as the server pleases".to_owned();
        let retry_after = retry_after.and_then(|value| parse_retry_after(value, |_| None));
        Outcome::Response { status, retry_after, message, verdicts: Vec::new() }
    }

    fn hear(&mut self, lease: LeaseId, outcome: &Outcome) {
        let clock = self.read_clock();
        let before = self.exporter.stats();
        self.exporter.handle_response(lease, outcome, clock);
        let rejected = self.exporter.stats().rejected - before.rejected;
        self.ledger.hear(lease, outcome, rejected, self.steady);
        self.check();
    }

    fn read_clock(&mut self) -> Timestamp {
        let clock = self.clock + self.now;
        // The exporter's clock does not leap, see `SteadyClock`.
        self.steady += clock.since(self.last_read).min(secs(900));
        self.last_read = clock;
        clock
    }

    fn check(&self) {
        let stats = self.exporter.stats();
        self.ledger.check(&stats);
        let (bytes, records) = (self.settings.queue_bytes as u64, self.settings.queue_records as u64);
        assert!(stats.bytes <= bytes, "{} bytes in a queue of {bytes}", stats.bytes);
        assert!(stats.queued + stats.leased <= records, "above {records} records: {stats:?}");
        assert_eq!(stats.bytes == 0, stats.queued + stats.leased == 0, "{stats:?}");
    }
}
