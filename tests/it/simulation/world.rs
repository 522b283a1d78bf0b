//! Drivers, a server that remembers what it has, and a clock that anybody may set.

use std::sync::LazyLock;
use std::time::Duration;

use langfuse_edge::exporter::{
    Action, Exporter, FlushId, FlushSettings, LeaseId, Pushed, Request, Scope, Settings,
};
use langfuse_edge::observation::Field;
use langfuse_edge::retry::{Outcome, Verdict, parse_retry_after};
use langfuse_edge::wire::{Record, RecordKind, ScoreData, encode, encode_score};
use langfuse_edge::{DropReason, FlushReport, Timestamp};

use super::ledger::{Entry, Fate, KINDS, Ledger, MESSAGE, Tally};
use crate::body;
use crate::host::{millis, secs};
use crate::records::{END, START, hex, observation, score, small_record, trace_id};

/// Longer than any pause, lease or flush.
const HEALING: Duration = secs(700);
/// A flush that waits for another's batch looks again after a quarter of the time it has waited, within these.
const LOOK_AGAIN: (Duration, Duration) = (millis(5), millis(200));
/// What may be left free in a body that has room for no other record: lengths are not known before they are written.
const SLACK: usize = 24;

/// An overflow that answers does so within this.
const PROMPTLY: Duration = millis(5);

#[derive(Clone, Copy, Debug)]
pub(super) struct Overflow {
    /// Of a message, at most.
    pub(super) bytes: usize,
    /// What it answers at once, if anything.
    pub(super) accepts: Option<bool>,
}

/// What a program records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recorded {
    pub(super) is_score: bool,
    /// Scores may be of none, which is 0.
    pub(super) trace: u8,
    /// Beside what every record has.
    pub(super) bytes: usize,
    pub(super) has_payload: bool,
    pub(super) is_poisonous: bool,
}

/// What the server does with a request, and the overflow with a message: that accepts what is not refused or lost.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    /// What a sound server says: 413 above its limit, 400 to anything poisonous, else 200; of scores 207, with the 400
    /// for the poisonous alone.
    Honest,
    Status(u16, Option<&'static str>),
    /// 207, with these statuses for its events in turn; one with the status 0 is passed over.
    Verdicts([u16; 4], Option<&'static str>),
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
    kind: RecordKind,
    ids: Vec<u64>,
    body_len: usize,
    is_overflow: bool,
    answer: Option<Answered>,
}

#[derive(Clone)]
enum Answered {
    Server(Outcome),
    /// Whether it accepts.
    Overflow(bool),
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

    pub(super) fn push(&mut self, recorded: Recorded) -> Pushed {
        let Recorded { is_score, trace, bytes, has_payload, is_poisonous } = recorded;
        let id = self.ledger.records.len() as u64 + 1;
        let record =
            if is_score { score_of(id, trace, bytes) } else { observation_of(id, trace, bytes, has_payload) };
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
        let answered = if is_overflow {
            Answered::Overflow(self.take_over(index, answer))
        } else {
            Answered::Server(self.take_in(index, answer))
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
            self.server_limit = usize::MAX;
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

    /// What becomes of a request at the server.
    fn take_in(&mut self, index: usize, answer: Answer) -> Outcome {
        let sent = &self.requests[index];
        let is_poisonous = |id: &u64| self.ledger.entry(*id).is_poisonous;
        let (status, retry_after) = match answer {
            Answer::Honest if sent.body_len > self.server_limit => (413, None),
            Answer::Honest if sent.kind == RecordKind::Score => {
                let statuses = sent.ids.iter().map(|id| if is_poisonous(id) { 400 } else { 201 }).collect();
                return self.judge(index, statuses, None);
            }
            Answer::Honest if sent.ids.iter().any(is_poisonous) => (400, None),
            Answer::Honest => (200, None),
            Answer::Verdicts(statuses, retry_after) if sent.kind == RecordKind::Score => {
                let statuses = statuses.into_iter().cycle().take(sent.ids.len()).collect();
                return self.judge(index, statuses, retry_after);
            }
            Answer::Verdicts(_, retry_after) => (207, retry_after),
            Answer::Status(status, retry_after) => (status, retry_after),
            Answer::Refused => return Outcome::Failed { ambiguous: false },
            Answer::Lost { has_arrived } => {
                let ids = sent.ids.clone();
                self.ledger.doubt(&ids);
                if has_arrived {
                    self.ledger.acknowledge(&ids);
                }
                return Outcome::Failed { ambiguous: true };
            }
        };
        // A 207 that says nothing of a score has not taken it.
        if status == 200 || status == 207 && sent.kind == RecordKind::Observation {
            self.ledger.acknowledge(&sent.ids);
        }
        response(status, retry_after, Vec::new())
    }

    /// A 207.
    fn judge(&mut self, index: usize, statuses: Vec<u16>, retry_after: Option<&str>) -> Outcome {
        let judged = || self.requests[index].ids.iter().copied().zip(statuses.iter().copied());
        let accepted: Vec<_> = judged().filter(|(_, status)| *status / 100 == 2).map(|(id, _)| id).collect();
        let verdict = |id: String, status| Verdict { id, status, message: MESSAGE.to_owned() };
        let named = judged().filter(|(_, status)| *status > 0).map(|(id, status)| {
            verdict(self.ledger.entry(id).event.clone().expect("it has travelled"), status)
        });
        // In any order, and with an event that nobody has sent.
        let mut verdicts: Vec<_> = named.collect();
        verdicts.reverse();
        verdicts.push(verdict("0".repeat(16), 201));
        self.ledger.acknowledge(&accepted);
        response(207, retry_after, verdicts)
    }

    /// Whether the overflow accepts a message.
    fn take_over(&mut self, index: usize, answer: Answer) -> bool {
        let is_accepted = match answer {
            Answer::Honest | Answer::Verdicts(..) => true,
            Answer::Status(..) | Answer::Refused => false,
            Answer::Lost { has_arrived } => has_arrived,
        };
        if is_accepted {
            self.ledger.acknowledge(&self.requests[index].ids);
        }
        is_accepted
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

fn response(status: u16, retry_after: Option<&str>, verdicts: Vec<Verdict>) -> Outcome {
    let retry_after = retry_after.and_then(|value| parse_retry_after(value, |_| None));
    Outcome::Response { status, retry_after, message: MESSAGE.to_owned(), verdicts }
}

fn observation_of(id: u64, trace: u8, bytes: usize, has_payload: bool) -> Record {
    let mut observation = observation(id);
    observation.context.trace_id = trace_id(trace.max(1));
    if has_payload {
        observation.attributes.fields.set(Field::Input, "x".repeat(bytes));
    } else {
        observation.attributes.metadata.set("notes", "x".repeat(bytes).into());
    }
    encode(observation, END, None, None)
}

/// The id of a score is that of an observation with the same number.
fn score_of(id: u64, trace: u8, bytes: usize) -> Record {
    let body = format!(r#"{{"id":"{}","name":"{}","value":1}}"#, hex(id), "x".repeat(bytes));
    encode_score(&ScoreData {
        id: Some(&hex(id)),
        trace_id: Some(trace).filter(|trace| *trace > 0).map(trace_id),
        body: &body,
        environment: None,
        recorded: "2026-01-02T03:04:05.678Z",
    })
}

/// The events of a body of scores, with the scores they carry: told by their ids, which no other text here is like.
fn events(body: &[u8]) -> Vec<(&str, u64)> {
    let body = std::str::from_utf8(body).expect("it is JSON");
    let ids: Vec<_> = body.split(r#"{"id":""#).skip(1).map(|rest| &rest[..16]).collect();
    let (pairs, rest) = ids.as_chunks();
    assert!(rest.is_empty(), "each event has an id, and its score another");
    pairs.iter().map(|[event, id]| (*event, u64::from_str_radix(id, 16).expect("it is a number"))).collect()
}

/// The bytes of a body beside its records, at least.
fn overhead(kind: RecordKind) -> usize {
    static OVERHEAD: LazyLock<[usize; 2]> = LazyLock::new(|| {
        [small_record(1), score("quality")].map(|record| {
            let (kind, len) = (record.kind(), record.len());
            let mut exporter = Exporter::new(Settings::default());
            exporter.push(record, START);
            let flush = exporter.begin_flush(secs(1), START);
            let Action::Send(request) = exporter.poll(flush, START) else {
                panic!("there is a record to send")
            };
            request.body.len() - framed(kind, len)
        })
    });
    OVERHEAD[kind as usize]
}

/// The bytes that a record adds to a body.
fn framed_len(entry: &Entry) -> usize {
    framed(entry.kind, entry.len)
}

fn framed(kind: RecordKind, len: usize) -> usize {
    match kind {
        // Field number and type, and the length in groups of seven bits.
        RecordKind::Observation => 1 + (len.max(1).ilog2() / 7 + 1) as usize + len,
        // With the comma that parts it from the next.
        RecordKind::Score => len + 1,
    }
}
