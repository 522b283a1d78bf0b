//! A host in fake time: it drives flushes as a driver does, and plays the server by a script.

use std::time::Duration;

use langfuse_edge::exporter::{Action, Exporter, FlushId, FlushSettings, LeaseId, Pushed, Request, Settings};
use langfuse_edge::retry::{Outcome, Verdict, parse_retry_after};
use langfuse_edge::wire::{Record, RecordKind};
use langfuse_edge::{FlushReport, Timestamp};
use serde_json::Value;

use crate::body;
use crate::records::{START, small_record};

pub(crate) const DEFAULT_BUDGET: Duration = Duration::from_secs(25);

pub(crate) struct Host {
    pub(crate) exporter: Exporter,
    /// What has arrived at the server.
    pub(crate) requests: Vec<Received>,
    /// What has been given to the overflow.
    pub(crate) handed_over: Vec<Received>,
    /// Whether the overflow accepts.
    pub(crate) has_overflow: bool,
    server: Box<dyn FnMut(&Received) -> Answer>,
    /// Time since the story began, which no clock setting changes.
    now: Duration,
    /// What the clock showed when the story began.
    clock: Timestamp,
    drivers: Vec<Driver>,
    reports: Vec<(FlushId, FlushReport)>,
}

/// A request as the server sees it.
pub(crate) struct Received {
    pub(crate) at: Duration,
    pub(crate) kind: RecordKind,
    pub(crate) body: Vec<u8>,
    pub(crate) timeout: Duration,
}

impl Received {
    pub(crate) fn of(request: Request, at: Duration) -> Self {
        let Request { kind, body, timeout, .. } = request;
        Self { at, kind, body, timeout }
    }

    /// The ids of its observations.
    pub(crate) fn ids(&self) -> Vec<u64> {
        body::spans(&self.body).iter().map(|span| span.id).collect()
    }

    /// The events that carry its scores.
    pub(crate) fn events(&self) -> Vec<Value> {
        let body: Value = serde_json::from_slice(&self.body).expect("a body of scores is JSON");
        body["batch"].as_array().expect("a body of scores has a batch").clone()
    }

    /// The names of its scores.
    pub(crate) fn names(&self) -> Vec<String> {
        self.events().iter().map(|event| text(&event["body"]["name"])).collect()
    }
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().expect("it is a text").to_owned()
}

/// What the server does with a request.
pub(crate) struct Answer {
    after: Duration,
    pub(crate) outcome: Outcome,
}

/// This status, after 5 ms.
pub(crate) fn status(status: u16) -> Answer {
    let outcome =
        Outcome::Response { status, retry_after: None, message: String::new(), verdicts: Vec::new() };
    Answer { after: millis(5), outcome }
}

/// 207, with a status for each score by its name; one with the status 0 is passed over.
pub(crate) fn verdicts(received: &Received, judge: impl Fn(&str) -> u16) -> Answer {
    let judged = received.events().into_iter().map(|event| Verdict {
        id: text(&event["id"]),
        status: judge(&text(&event["body"]["name"])),
        message: "as the server pleases".to_owned(),
    });
    let judged: Vec<_> = judged.filter(|verdict| verdict.status > 0).collect();
    let mut answer = status(207);
    if let Outcome::Response { verdicts, .. } = &mut answer.outcome {
        *verdicts = judged;
    }
    answer
}

/// No answer, ever.
pub(crate) fn hang() -> Answer {
    Answer { after: Duration::MAX, ..reset() }
}

/// The connection is lost after the body was sent.
pub(crate) fn reset() -> Answer {
    Answer { after: millis(5), outcome: Outcome::Failed { ambiguous: true } }
}

/// The connection cannot be made.
pub(crate) fn refused() -> Answer {
    Answer { after: millis(5), outcome: Outcome::Failed { ambiguous: false } }
}

impl Answer {
    pub(crate) fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }

    pub(crate) fn retry_after(mut self, value: &str) -> Self {
        if let Outcome::Response { retry_after, .. } = &mut self.outcome {
            *retry_after = parse_retry_after(value, |_| None);
        }
        self
    }

    pub(crate) fn saying(mut self, words: &str) -> Self {
        if let Outcome::Response { message, .. } = &mut self.outcome {
            *message = words.to_owned();
        }
        self
    }
}

/// Drives one flush.
struct Driver {
    flush: FlushId,
    /// Records the flush covers.
    covered: u64,
    /// When it goes on, and with what.
    at: Duration,
    answer: Option<(LeaseId, Outcome)>,
}

impl Host {
    pub(crate) fn new(server: impl FnMut(&Received) -> Answer + 'static) -> Self {
        Self::with(Settings::default(), server)
    }

    pub(crate) fn with(settings: Settings, server: impl FnMut(&Received) -> Answer + 'static) -> Self {
        Self {
            exporter: Exporter::new(settings),
            requests: Vec::new(),
            handed_over: Vec::new(),
            has_overflow: false,
            server: Box::new(server),
            now: Duration::ZERO,
            clock: START,
            drivers: Vec::new(),
            reports: Vec::new(),
        }
    }

    /// Records small observations with these ids.
    pub(crate) fn record(&mut self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            self.push(small_record(number));
        }
    }

    pub(crate) fn push(&mut self, record: Record) -> Pushed {
        let pushed = self.exporter.push(record, self.clock());
        self.check_totals();
        pushed
    }

    pub(crate) fn flush(&mut self) -> FlushReport {
        self.flush_within(DEFAULT_BUDGET)
    }

    pub(crate) fn flush_within(&mut self, budget: Duration) -> FlushReport {
        let flush = self.begin_flush(budget);
        self.finish(flush)
    }

    /// Begins a flush, whose first request is on its way when this returns.
    pub(crate) fn begin_flush(&mut self, settings: impl Into<FlushSettings>) -> FlushId {
        let stats = self.exporter.stats();
        self.begin_flush_of(stats.queued + stats.leased, settings)
    }

    /// As `begin_flush`, of a flush that covers so many records.
    pub(crate) fn begin_flush_of(&mut self, covered: u64, settings: impl Into<FlushSettings>) -> FlushId {
        let flush = self.exporter.begin_flush(settings, self.clock());
        self.go_on(Driver { flush, covered, at: self.now, answer: None });
        flush
    }

    /// Lets time pass until this flush is over.
    pub(crate) fn finish(&mut self, flush: FlushId) -> FlushReport {
        loop {
            if let Some(index) = self.reports.iter().position(|(id, _)| *id == flush) {
                return self.reports.remove(index).1;
            }
            assert!(self.step(Duration::MAX), "a flush that is not over has a driver");
        }
    }

    /// Lets time pass until `time` after the story's beginning.
    pub(crate) fn run_until(&mut self, time: Duration) {
        while self.step(time) {}
        self.now = self.now.max(time);
    }

    /// The driver of this flush dies without a word, and what the server answers it goes unheard.
    pub(crate) fn kill(&mut self, flush: FlushId) {
        self.drivers.retain(|driver| driver.flush != flush);
        self.reports.retain(|(id, _)| *id != flush);
    }

    /// Time since the story began.
    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    /// What the host's clock shows.
    pub(crate) fn clock(&self) -> Timestamp {
        self.clock + self.now
    }

    pub(crate) fn set_clock_back(&mut self, by: Duration) {
        self.clock = Timestamp::from_nanos(self.clock.as_nanos() - by.as_nanos() as u64);
    }

    pub(crate) fn set_clock_forward(&mut self, by: Duration) {
        self.clock = self.clock + by;
    }

    /// Lets the driver that is next go on, when that is not after `latest`.
    fn step(&mut self, latest: Duration) -> bool {
        let next = self.drivers.iter().enumerate().min_by_key(|(_, driver)| driver.at);
        let Some((index, _)) = next.filter(|(_, driver)| driver.at <= latest) else { return false };
        let mut driver = self.drivers.remove(index);
        self.now = self.now.max(driver.at);
        if let Some((lease, outcome)) = driver.answer.take() {
            self.exporter.handle_response(lease, &outcome, self.clock());
            self.check_totals();
        }
        self.go_on(driver);
        true
    }

    fn go_on(&mut self, mut driver: Driver) {
        let action = self.exporter.poll(driver.flush, self.clock());
        self.check_totals();
        match action {
            Action::Send(request) => {
                let Request { lease, timeout, .. } = request;
                let received = Received::of(request, self.now);
                let Answer { after, outcome } = (self.server)(&received);
                self.requests.push(received);
                let in_time = after <= timeout;
                let outcome = if in_time { outcome } else { Outcome::Failed { ambiguous: true } };
                driver.at = self.now + after.min(timeout);
                driver.answer = Some((lease, outcome));
                self.drivers.push(driver);
            }
            Action::HandOver(request) => {
                self.exporter.handle_hand_over(request.lease, self.has_overflow);
                self.handed_over.push(Received::of(request, self.now));
                self.go_on(driver);
            }
            Action::WaitUntil(time) => {
                let wait = time.since(self.clock());
                assert!(!wait.is_zero(), "a driver told to wait for a time that has come would spin");
                driver.at = self.now + wait;
                self.drivers.push(driver);
            }
            Action::Done(report) => {
                let settled =
                    report.delivered + report.rejected.len() as u64 + report.dropped + report.handed_over;
                let before = (settled + report.retained).checked_sub(driver.covered);
                let before = before.unwrap_or_else(|| panic!("adds up: {report:?}"));
                assert!(
                    before <= report.dropped,
                    "beyond what it covers, it tells of drops only: {report:?}"
                );
                let all_delivered = report.delivered == driver.covered && before == 0;
                assert_eq!(report.ok, all_delivered, "is ok when all is delivered");
                assert_eq!(report.drop_reasons.iter().map(|(_, count)| count).sum::<u64>(), report.dropped);
                assert!(report.requests <= report.attempts, "no answer without an attempt: {report:?}");
                self.reports.push((driver.flush, report));
            }
        }
    }

    fn check_totals(&self) {
        let stats = self.exporter.stats();
        let settled = stats.delivered + stats.rejected + stats.dropped + stats.handed_over;
        assert_eq!(stats.recorded, settled + stats.queued + stats.leased, "adds up: {stats:?}");
    }
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
