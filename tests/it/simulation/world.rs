//! Drivers, and a clock that anybody may set.

use std::time::Duration;

use langfuse_edge::exporter::{
    Action, Exporter, FlushId, FlushSettings, LeaseId, Pushed, Request, Scope, Settings,
};
use langfuse_edge::retry::Outcome;
use langfuse_edge::wire::RecordKind;
use langfuse_edge::{DropReason, FlushReport, Timestamp};

use super::bytes::{Recorded, SLACK, encoded, events, framed_len, overhead};
use super::entry::{Entry, Fate};
use super::ledger::{KINDS, Ledger};
use super::server::{Answer, Answered, Sent, Server, response, take_over};
use super::tally::Tally;
use crate::body;
use crate::host::{millis, secs};
use crate::records::{START, trace_id};

/// Longer than any pause, lease or flush.
const HEALING: Duration = secs(700);
/// A flush that waits for another's batch looks again after a quarter of the time it has waited, within these.
const LOOK_AGAIN: (Duration, Duration) = (millis(5), millis(200));
/// An overflow that answers does so within this.
const PROMPTLY: Duration = millis(5);

#[derive(Clone, Copy, Debug)]
pub(super) struct Overflow {
    /// Of a message, at most.
    pub(super) bytes: usize,
    /// What it answers at once, if anything.
    pub(super) accepts: Option<bool>,
}

pub(super) struct World {
    exporter: Exporter,
    settings: Settings,
    ledger: Ledger,
    server: Server,
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

/// Drives one flush.
struct Driver {
    flush: FlushId,
    /// When it goes on.
    due: Duration,
    /// The request it waits for, by its place.
    in_flight: Option<usize>,
    /// Whether its overflow accepts; one that does not say so at once waits for an [`Answer`].
    overflow_accepts: Option<bool>,
}

impl World {
    pub(super) fn new(settings: Settings, server_limit: usize) -> Self {
        Self {
            exporter: Exporter::new(settings),
            settings,
            ledger: Ledger::new(settings),
            server: Server { limit: server_limit },
            requests: Vec::new(),
            drivers: Vec::new(),
            over: Vec::new(),
            now: Duration::ZERO,
            clock: START,
            last_read: START,
            steady: Duration::ZERO,
        }
    }

    pub(super) fn push(&mut self, recorded: Recorded) -> Pushed {
        let Recorded { is_score, trace, bytes, has_payload, is_poisonous } = recorded;
        let id = self.ledger.records.len() as u64 + 1;
        let record = encoded(id, recorded);
        let (kind, name, len) = (record.kind(), record.id(), record.len());
        let before = self.exporter.stats();
        let clock = self.read_clock();
        let pushed = self.exporter.push(record, clock);
        self.ledger.records.push(Entry {
            kind,
            name,
            trace: Some(trace).filter(|trace| *trace > 0),
            len,
            recorded: self.steady,
            fate: Fate::Waiting(None),
            group: 0,
            event: None,
            may_lose_payload: has_payload && !is_score,
            has_large_payload: has_payload && bytes > 300,
            is_poisonous,
            is_acknowledged: false,
            may_be_doubled: false,
        });
        let dropped = self.exporter.stats().dropped - before.dropped;
        let is_too_much = before.bytes + len as u64 > self.settings.queue_bytes as u64
            || before.queued + before.leased + 1 > self.settings.queue_records as u64;
        match pushed {
            Pushed::Dropped(DropReason::Shutdown) => self.ledger.drop_record(id, DropReason::Shutdown),
            _ if dropped == 0 => assert!(!is_too_much, "the bounds ask for a record to be dropped"),
            _ => assert!(is_too_much, "the bounds do not ask for a record to be dropped"),
        }
        match pushed {
            Pushed::Dropped(reason) => {
                assert_eq!(dropped, 1, "a record that is dropped itself pushes no other out");
                if reason != DropReason::Shutdown {
                    self.ledger.drop_record(id, reason);
                }
            }
            Pushed::Queued => {
                let oldest: Vec<_> = self.ledger.waiting().take(dropped as usize).collect();
                assert!(!oldest.contains(&id), "a record that was dropped is said to be queued");
                oldest.into_iter().for_each(|id| self.ledger.drop_record(id, DropReason::QueueFull));
            }
        }
        self.check();
        pushed
    }

    /// Of these traces, or of everything; with an overflow that takes messages of so many bytes, or without.
    pub(super) fn begin_flush(
        &mut self,
        budget: Duration,
        traces: Option<Vec<u8>>,
        overflow: Option<Overflow>,
    ) {
        let (overflow, overflow_accepts) = overflow.map(|it| (it.bytes, it.accepts)).unzip();
        let clock = self.read_clock();
        let mut settings = FlushSettings::from(budget);
        if let Some(traces) = &traces {
            settings.scope = Scope::Traces(traces.iter().map(|trace| trace_id(*trace)).collect());
        }
        settings.overflow_bytes = overflow;
        let flush = self.exporter.begin_flush(settings, clock);
        self.ledger.begin_flush(flush, budget, traces, overflow, false, self.steady);
        self.drivers.push(Driver {
            flush,
            due: self.now,
            in_flight: None,
            overflow_accepts: overflow_accepts.flatten(),
        });
        self.check();
    }

    pub(super) fn lose(&mut self, records: u64) {
        self.exporter.count_lost(records);
        self.ledger.lose(records);
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
            self.ledger.tidy_up(self.steady);
            let action = self.exporter.poll(flush, clock);
            assert!(matches!(action, Action::Done(report) if report == FlushReport::nothing_to_do()));
            self.check();
        }
    }

    /// A request that has no answer yet gets one; the client may never hear of it.
    pub(super) fn answer(&mut self, request: usize, answer: Answer, is_heard: bool) {
        let is_open = |index: &usize| self.requests[*index].answer.is_none();
        let awaited = self.drivers.iter().filter_map(|driver| driver.in_flight).filter(is_open);
        // Every other one is awaited, if any is: most of the rest are answered too late.
        let mut open: Vec<_> = if request.is_multiple_of(2) { awaited.collect() } else { Vec::new() };
        if open.is_empty() {
            open = (0..self.requests.len()).filter(is_open).collect();
        }
        if !open.is_empty() {
            self.answer_request(open[request / 2 % open.len()], answer, is_heard);
        }
    }

    fn answer_request(&mut self, index: usize, answer: Answer, is_heard: bool) {
        let is_overflow = self.requests[index].is_overflow;
        // Of the overflow a driver knows nothing but yes and no.
        let is_heard = is_heard && !(is_overflow && matches!(answer, Answer::Lost { .. }));
        let sent = &self.requests[index];
        let answered = if is_overflow {
            Answered::Overflow(take_over(sent, answer, &mut self.ledger))
        } else {
            Answered::Server(self.server.take_in(sent, answer, &mut self.ledger))
        };
        self.requests[index].answer = Some(answered.clone());
        if is_heard {
            self.hear(index, &answered);
        }
    }

    /// A driver is told, and goes on when this is what it waits for.
    fn hear(&mut self, index: usize, answered: &Answered) {
        for driver in self.drivers.iter_mut().filter(|driver| driver.in_flight == Some(index)) {
            driver.in_flight = None;
            driver.due = self.now;
        }
        let lease = self.requests[index].lease;
        match answered {
            Answered::Server(outcome) => self.hear_server(lease, outcome),
            Answered::Overflow(is_accepted) => {
                self.exporter.handle_hand_over(lease, *is_accepted);
                self.ledger.hear_overflow(lease, *is_accepted);
                self.check();
            }
        }
    }

    /// The server works as it should for a while.
    pub(super) fn serve_all(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.wait(millis(5));
            for index in 0..self.requests.len() {
                if self.requests[index].answer.is_none() {
                    self.answer_request(index, Answer::Honest, true);
                }
            }
        }
    }

    /// Also an answer that nobody has heard yet.
    pub(super) fn answer_again(&mut self, request: usize) {
        let answered = self.requests.iter().enumerate();
        let answered: Vec<_> =
            answered.filter_map(|(index, sent)| Some((index, sent.answer.clone()?))).collect();
        if !answered.is_empty() {
            let (index, answered) = &answered[request % answered.len()];
            self.hear(*index, answered);
        }
    }

    pub(super) fn answer_unknown(&mut self, number: f64, status: u16) {
        let lease = LeaseId::from_f64(number);
        if !self.requests.iter().any(|sent| sent.lease == lease) {
            self.hear_server(lease, &response(status, None, Vec::new()));
            self.exporter.handle_hand_over(lease, status == 200);
            self.check();
        }
    }

    /// A driver dies without a word.
    pub(super) fn kill(&mut self, driver: usize) {
        if !self.drivers.is_empty() {
            let driver = self.drivers.remove(driver % self.drivers.len());
            if let Some(index) = driver.in_flight {
                self.ledger.doubt(&self.requests[index].ids);
                self.ledger.tally.overflow_lost += u64::from(self.requests[index].is_overflow);
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
            if let (Some(request), Some(accepts)) = (self.prompt(index), self.drivers[index].overflow_accepts)
            {
                self.answer_request(request, if accepts { Answer::Honest } else { Answer::Refused }, true);
            } else if let Some(request) = self.drivers[index].in_flight.take() {
                self.ledger.doubt(&self.requests[request].ids);
                if self.requests[request].is_overflow {
                    // Whether it was accepted will be known when the lease has expired, if ever.
                    self.ledger.tally.overflow_lost += 1;
                } else {
                    self.hear_server(self.requests[request].lease, &Outcome::Failed { ambiguous: true });
                }
            }
            self.poll(index);
        }
        self.now = end;
    }

    /// The message to the overflow that this driver waits to hear of.
    fn prompt(&self, driver: usize) -> Option<usize> {
        let index = self.drivers[driver].in_flight?;
        let sent = &self.requests[index];
        (sent.is_overflow && sent.answer.is_none()).then_some(index)
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
            self.server.limit = usize::MAX;
            self.ledger.records.iter_mut().for_each(|entry| entry.is_poisonous = false);
        }
        self.outwait();
        let before = self.exporter.stats();
        let left = (before.queued + before.leased) as usize;
        // To find what is refused takes both halves at every level, and each record may be tried without its payload.
        let most_rounds = if takes_everything { left + 1 } else { 4 * left + 20 };
        let mut rounds = 0;
        // Of a server that refuses a lot, one flush may have had enough.
        let is_left = |exporter: &Exporter| exporter.stats().queued + exporter.stats().leased > 0;
        while is_left(&self.exporter) || !self.drivers.is_empty() {
            if self.drivers.is_empty() {
                self.begin_flush(HEALING, None, None);
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

    /// The last flush: what it cannot deliver is dropped.
    pub(super) fn shut_down(&mut self, budget: Duration, rounds: usize) {
        let clock = self.read_clock();
        let flush = self.exporter.begin_flush(FlushSettings::last(budget), clock);
        self.ledger.begin_flush(flush, budget, None, None, true, self.steady);
        self.drivers.push(Driver { flush, due: self.now, in_flight: None, overflow_accepts: None });
        let small = Recorded { is_score: false, trace: 1, bytes: 10, has_payload: true, is_poisonous: false };
        assert_eq!(self.push(small), Pushed::Dropped(DropReason::Shutdown));
        self.serve_all(rounds);
        self.wait(budget);
        let stats = self.exporter.stats();
        assert_eq!((stats.queued, stats.leased, stats.bytes), (0, 0, 0), "something is left");
        self.outwait();
    }

    /// Every flush ends, every pause and every lease.
    fn outwait(&mut self) {
        // Time that passes before a step back of the clock is noticed would not count.
        self.begin_flush(Duration::ZERO, None, None);
        self.wait(HEALING);
        assert!(self.drivers.is_empty(), "a flush outlasts its deadline");
        // What has grown old meanwhile goes.
        self.begin_flush(Duration::ZERO, None, None);
        self.wait(Duration::ZERO);
    }

    pub(super) fn tally(&self) -> Tally {
        let stats = self.exporter.stats();
        Tally {
            delivered: stats.delivered,
            rejected: stats.rejected,
            dropped: stats.dropped,
            handed_over: stats.handed_over,
            ..self.ledger.tally
        }
    }

    fn poll(&mut self, driver: usize) {
        let flush = self.drivers[driver].flush;
        let clock = self.read_clock();
        let now = self.steady;
        self.ledger.tidy_up(now);
        let action = self.exporter.poll(flush, clock);
        let Some(known) = self.ledger.flush(flush) else {
            // The clock went on for long, twice, before the driver woke: to all others it looked dead.
            assert!(matches!(action, Action::Done(report) if report == FlushReport::nothing_to_do()));
            self.drivers.remove(driver);
            return self.check();
        };
        let is_over = known.is_late(now) || self.ledger.is_all_settled(known);
        let has_in_flight = self.ledger.has_in_flight(flush);
        let is_alone = self.ledger.is_nothing_in_flight();
        let has_time = !known.is_weary() && known.has_time_to_send(now);
        let must_send = KINDS.into_iter().find(|kind| {
            let has_turn = has_time && !has_in_flight && self.ledger.must_send(*kind, now);
            has_turn && self.ledger.has_waiting(known, *kind)
        });
        let opening = self.ledger.opening(known).filter(|_| has_time && !has_in_flight);
        let may_wait = !is_alone || opening.is_some_and(|(from, _)| from < known.sends_until);
        let must_wait = !is_alone || opening.is_some_and(|(_, by)| by < known.sends_until);
        let must_hand_over = !has_in_flight
            && KINDS.into_iter().any(|kind| {
                self.ledger
                    .own_waiting(known, kind)
                    .into_iter()
                    .any(|id| self.fits_overflow(known.overflow, id, SLACK))
            });
        assert!(!is_over || matches!(action, Action::Done(_)), "there is nothing to do any more: {action:?}");
        match action {
            Action::Send(request) => {
                assert!(has_time, "a flush without time, or that has asked in vain too often, asks again");
                assert!(!has_in_flight, "two requests of one flush at a time");
                assert!(self.ledger.has_waiting(known, request.kind), "nothing of this flush waits");
                assert!(self.ledger.may_send(request.kind, now), "the server is to be left alone");
                assert!(
                    must_send.is_none_or(|first| request.kind as usize <= first as usize),
                    "{must_send:?} goes first"
                );
                let left = known.sends_until - now;
                assert_eq!(request.timeout, left.min(self.settings.attempt_timeout));
                self.send(driver, request, None);
            }
            Action::HandOver(request) => {
                let bytes = known.overflow.expect("the flush has an overflow that has not refused");
                assert!(!has_in_flight, "two requests of one flush at a time");
                assert_eq!(must_send, None, "the server is asked first");
                assert!(!has_time || !must_wait, "it can still be delivered");
                let left = known.deadline - now;
                assert_eq!(request.timeout, left.min(self.settings.attempt_timeout));
                self.send(driver, request, Some(bytes));
            }
            Action::WaitUntil(time) => {
                let wait = time.since(clock);
                assert_eq!(must_send, None, "nothing keeps the flush from sending");
                assert!(may_wait, "there is nothing to wait for");
                assert!(has_time || !must_hand_over, "the overflow's time has come");
                assert!(!wait.is_zero(), "a driver told to wait for a time that has come would spin");
                let end = if has_time { known.sends_until } else { known.deadline };
                assert!(
                    now + wait <= end,
                    "told to wait {wait:?}, into the overflow's time or beyond the end"
                );
                let look_again = ((now - known.started) / 4).clamp(LOOK_AGAIN.0, LOOK_AGAIN.1);
                assert!(is_alone || wait <= look_again, "told to wait {wait:?} for another");
                assert!(
                    opening.is_none_or(|(_, by)| by >= known.sends_until || now + wait <= by),
                    "told to wait {wait:?}, beyond every pause"
                );
                let driver = &mut self.drivers[driver];
                if driver.in_flight.is_none() {
                    driver.due = self.now + wait;
                }
            }
            Action::Done(report) => {
                let is_stuck = must_send.is_none() && !must_wait && !must_hand_over;
                assert!(is_over || is_stuck, "a flush gives up early: {report:?}");
                self.ledger.close(flush, &report, now);
                self.drivers.remove(driver);
                self.over.push(flush);
            }
        }
        self.check();
    }

    /// Whether a message to the overflow has room for the record alone and `slack`.
    fn fits_overflow(&self, overflow: Option<usize>, id: u64, slack: usize) -> bool {
        let entry = self.ledger.entry(id);
        overflow.is_some_and(|bytes| overhead(entry.kind) + framed_len(entry) + slack <= bytes)
    }

    /// A request to the server, or a message of at most so many bytes to the overflow.
    fn send(&mut self, driver: usize, request: Request, overflow: Option<usize>) {
        let Request { lease, kind, body, timeout } = request;
        let flush = self.drivers[driver].flush;
        let ids = self.ids(kind, &body);
        assert!(!ids.is_empty(), "a request without records");
        let known = self.ledger.flush(flush).expect("the caller has looked");
        let own = self.ledger.own_waiting(known, kind);
        let waiting = self.ledger.waiting_for(known, kind);
        let others = match known.traces {
            Some(_) => ids.iter().filter(|id| !own.contains(id)).count() as u64,
            None => 0,
        };
        match overflow {
            Some(bytes) => {
                assert!(body.len() <= bytes, "a message of {} bytes, not {bytes}", body.len());
                let first = self.ledger.own_waiting(known, KINDS[0]);
                let is_skipped =
                    kind != KINDS[0] && first.iter().any(|id| self.fits_overflow(overflow, *id, SLACK));
                assert!(!is_skipped, "observations go first");
                let own: Vec<_> = own.into_iter().filter(|id| self.fits_overflow(overflow, *id, 0)).collect();
                // Those that may just not fit may be left out.
                self.check_batch(&ids, &own, |id| !self.fits_overflow(overflow, id, SLACK), kind, bytes);
            }
            None => {
                let (limit, doubled) = self.ledger.lane(kind).limit(self.settings.batch_bytes, self.steady);
                self.ledger.tally.limits_doubled += doubled;
                assert!(ids.len() == 1 || body.len() <= limit, "{} bytes, not {limit}", body.len());
                self.check_batch(&ids, &waiting, |_| false, kind, limit);
                self.ledger.count_attempt(flush, body.len());
                self.ledger.tally.taken_along += others;
            }
        }
        self.ledger.lease(lease, flush, kind, &ids, body.len(), self.steady + timeout);
        let driver = &mut self.drivers[driver];
        driver.in_flight = Some(self.requests.len());
        let is_prompt = overflow.is_some() && driver.overflow_accepts.is_some();
        driver.due = self.now + if is_prompt { PROMPTLY.min(timeout) } else { timeout };
        let (body_len, is_overflow) = (body.len(), overflow.is_some());
        self.requests.push(Sent { lease, kind, ids, body_len, is_overflow, answer: None });
    }

    /// A batch is the first of what waits and of its group: as much as there is room for.
    fn check_batch(
        &self,
        ids: &[u64],
        waiting: &[u64],
        may_be_left_out: impl Fn(u64) -> bool,
        kind: RecordKind,
        limit: usize,
    ) {
        let is_expected = |id: &&u64| ids.contains(id) || !may_be_left_out(**id);
        assert_eq!(waiting.iter().find(is_expected), ids.first(), "{ids:?} are sent of {waiting:?}");
        let group = self.ledger.entry(ids[0]).group;
        let waiting: Vec<_> =
            waiting.iter().copied().filter(|id| self.ledger.entry(*id).group == group).collect();
        let first = waiting.iter().filter(is_expected).take(ids.len());
        assert!(first.eq(ids), "{ids:?} are sent and not the first of {waiting:?}");
        let most = self.settings.batch_records.max(1);
        assert!(ids.len() <= most, "{} records", ids.len());
        let next = waiting.iter().skip_while(|id| Some(id) != ids.last().as_ref()).nth(1);
        let Some(next) = next.map(|id| self.ledger.entry(*id)) else { return };
        let len = |entry: &Entry| framed_len(entry);
        let body = overhead(kind) + ids.iter().map(|id| len(self.ledger.entry(*id))).sum::<usize>();
        assert!(
            ids.len() == most || body + len(next) + SLACK > limit,
            "there is room for more than {ids:?} of {waiting:?}"
        );
    }

    /// The records of a body, by id. The events of scores are written down.
    fn ids(&mut self, kind: RecordKind, body: &[u8]) -> Vec<u64> {
        match kind {
            RecordKind::Observation => body::spans(body).iter().map(|span| span.id).collect(),
            RecordKind::Score => {
                let events = events(body);
                for (event, id) in &events {
                    let known = &mut self.ledger.entry_mut(*id).event;
                    assert!(known.is_none() || known.as_deref() == Some(event), "an event changes its name");
                    *known = Some((*event).to_owned());
                }
                events.into_iter().map(|(_, id)| id).collect()
            }
        }
    }

    fn hear_server(&mut self, lease: LeaseId, outcome: &Outcome) {
        let clock = self.read_clock();
        let before = self.exporter.stats();
        self.exporter.handle_response(lease, outcome, clock);
        let after = self.exporter.stats();
        let bytes = (before.bytes - after.bytes) as usize;
        self.ledger.hear(lease, outcome, after.rejected - before.rejected, bytes, self.steady);
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
    }
}
