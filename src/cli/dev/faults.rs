//! Failing on purpose: what `--fault` and `POST /dev/faults` describe.

use std::time::Duration;

use axum::http::HeaderValue;
use serde::Deserialize;
use tokio::time::Instant;

use super::request_log::Route;

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Fault {
    /// Answer with this status.
    status: Option<u16>,
    /// Limit `status`, `reset`, `hang` and `eventErrors` to the first N POSTs.
    first: Option<u64>,
    /// Limit them to this many milliseconds since the fault was set.
    for_ms: Option<u64>,
    /// The `Retry-After` header that goes with `status`.
    retry_after: Option<String>,
    /// Wait before every answer.
    #[serde(default)]
    delay_ms: u64,
    /// Read the body, then destroy the connection.
    #[serde(default)]
    reset: bool,
    /// Read the body and never answer.
    #[serde(default)]
    hang: bool,
    /// Answer 413 to larger bodies, as received.
    max_body_bytes: Option<usize>,
    /// Only this route; both that take data when absent.
    route: Option<Place>,
    #[serde(default)]
    event_errors: Vec<EventError>,
    /// Refuse the whole export when a span has one of these names.
    #[serde(default)]
    reject_names: Vec<String>,
    /// The server's version, instead of the one that this receiver is like.
    version: Option<String>,
    /// Be a server that still takes what version 3 took: routes of the v3 API ask for keys instead of being gone.
    #[serde(default)]
    legacy: bool,
    /// How far the clock of the `Date` header is ahead.
    #[serde(default)]
    clock_ahead_seconds: i32,
    /// What is written is never read back.
    #[serde(default)]
    unreadable: bool,
}

/// The routes that can fail: those that take data, and those that are only read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Place {
    Traces,
    Ingestion,
    Health,
    Projects,
    Observations,
    Scores,
}

impl Place {
    fn takes_data(self) -> bool {
        matches!(self, Self::Traces | Self::Ingestion)
    }
}

impl From<Route> for Place {
    fn from(route: Route) -> Self {
        match route {
            Route::Traces => Self::Traces,
            Route::Ingestion => Self::Ingestion,
        }
    }
}

/// An error for one event of a batch, found by the name or the id of the score, or the id of the event.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventError {
    pub(super) name: Option<String>,
    pub(super) id: Option<String>,
    pub(super) status: u16,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn parse(json: &str) -> Result<Self, String> {
        let fault: Self = serde_json::from_str(json).map_err(|error| format!("not a fault: {error}"))?;
        fault.check()?;
        Ok(fault)
    }

    fn check(&self) -> Result<(), String> {
        let outcomes = [
            self.status.is_some(),
            self.reset,
            self.hang,
            !self.event_errors.is_empty() || !self.reject_names.is_empty(),
        ];
        if outcomes.into_iter().filter(|&set| set).count() > 1 {
            return Err("status, reset, hang and eventErrors/rejectNames exclude each other".to_owned());
        }
        let statuses = self.status.into_iter().chain(self.event_errors.iter().map(|error| error.status));
        if let Some(status) = statuses.into_iter().find(|status| !(400..=599).contains(status)) {
            return Err(format!("status must be 400 to 599, not {status}"));
        }
        if self.event_errors.iter().any(|error| error.name.is_none() && error.id.is_none()) {
            return Err("each of eventErrors needs a name or an id".to_owned());
        }
        if self.retry_after.as_deref().is_some_and(|text| HeaderValue::from_str(text).is_err()) {
            return Err("retryAfter cannot be sent as a header".to_owned());
        }
        if self.version.as_deref().is_some_and(str::is_empty) {
            return Err("version must not be empty".to_owned());
        }
        if self.retry_after.is_some() && self.status.is_none() {
            return Err("retryAfter needs a status".to_owned());
        }
        Ok(())
    }
}

/// A fault since it was set.
pub(super) struct ActiveFault {
    fault: Fault,
    since: Instant,
    seen: u64,
}

/// What to do with one POST.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    pub(super) delay: Duration,
    pub(super) act: Act,
}

#[derive(Debug, PartialEq)]
pub(super) enum Act {
    Serve { event_errors: Vec<EventError>, reject_names: Vec<String> },
    Fail { status: u16, retry_after: Option<String> },
    TooLarge,
    Reset,
    Hang,
}

impl Default for Act {
    fn default() -> Self {
        Self::Serve { event_errors: Vec::new(), reject_names: Vec::new() }
    }
}

impl ActiveFault {
    pub(super) fn new(fault: Fault, since: Instant) -> Self {
        Self { fault, since, seen: 0 }
    }

    pub(super) fn version(&self) -> Option<&str> {
        self.fault.version.as_deref()
    }

    pub(super) fn is_legacy(&self) -> bool {
        self.fault.legacy
    }

    pub(super) fn clock_ahead(&self) -> i32 {
        self.fault.clock_ahead_seconds
    }

    pub(super) fn is_unreadable(&self) -> bool {
        self.fault.unreadable
    }

    pub(super) fn plan(&mut self, place: Place, body_bytes: usize, now: Instant) -> Plan {
        let fault = &self.fault;
        if !fault.route.map_or_else(|| place.takes_data(), |only| only == place) {
            return Plan::default();
        }
        self.seen += 1;
        let in_count = fault.first.is_none_or(|first| self.seen <= first);
        let in_time = fault.for_ms.is_none_or(|ms| now - self.since < Duration::from_millis(ms));
        let active = in_count && in_time;
        let act = if active && fault.reset {
            Act::Reset
        } else if active && fault.hang {
            Act::Hang
        } else if let (true, Some(status)) = (active, fault.status) {
            Act::Fail { status, retry_after: fault.retry_after.clone() }
        } else if fault.max_body_bytes.is_some_and(|max| body_bytes > max) {
            Act::TooLarge
        } else {
            Act::Serve {
                event_errors: if active { fault.event_errors.clone() } else { Vec::new() },
                reject_names: fault.reject_names.clone(),
            }
        };
        Plan { delay: Duration::from_millis(fault.delay_ms), act }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn active(json: &str) -> (ActiveFault, Instant) {
        let now = Instant::now();
        (ActiveFault::new(Fault::parse(json).unwrap(), now), now)
    }

    fn serve() -> Act {
        Act::default()
    }

    #[test]
    fn a_status_ends_after_the_first_n() {
        let (mut fault, now) = active(r#"{"status":429,"first":2,"retryAfter":"2"}"#);
        let failing = Act::Fail { status: 429, retry_after: Some("2".to_owned()) };
        assert_eq!(fault.plan(Place::Traces, 1, now).act, failing);
        assert_eq!(fault.plan(Place::Ingestion, 1, now).act, failing);
        assert_eq!(fault.plan(Place::Traces, 1, now).act, serve());
    }

    #[test]
    fn a_status_ends_after_its_time() {
        let (mut fault, now) = active(r#"{"status":503,"forMs":100}"#);
        assert_ne!(fault.plan(Place::Traces, 1, now + Duration::from_millis(99)).act, serve());
        assert_eq!(fault.plan(Place::Traces, 1, now + Duration::from_millis(100)).act, serve());
    }

    #[test]
    fn a_route_is_left_alone_and_not_counted() {
        let (mut fault, now) = active(r#"{"reset":true,"first":1,"route":"traces","delayMs":5}"#);
        assert_eq!(fault.plan(Place::Ingestion, 1, now), Plan::default());
        let plan = fault.plan(Place::Traces, 1, now);
        assert_eq!((plan.act, plan.delay), (Act::Reset, Duration::from_millis(5)));
    }

    #[test]
    fn what_is_only_read_fails_when_it_is_named() {
        let (mut fault, now) = active(r#"{"hang":true}"#);
        assert_eq!(fault.plan(Place::Health, 0, now), Plan::default());
        let (mut fault, now) = active(r#"{"hang":true,"route":"health"}"#);
        assert_eq!(fault.plan(Place::Health, 0, now).act, Act::Hang);
        assert_eq!(fault.plan(Place::Traces, 1, now), Plan::default());
    }

    #[test]
    fn a_body_may_be_as_large_as_the_limit() {
        let (mut fault, now) = active(r#"{"maxBodyBytes":10}"#);
        assert_eq!(fault.plan(Place::Traces, 10, now).act, serve());
        assert_eq!(fault.plan(Place::Traces, 11, now).act, Act::TooLarge);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        let refusal = |json| Fault::parse(json).unwrap_err();
        assert!(refusal(r#"{"stauts":503}"#).contains("stauts"));
        assert!(refusal(r#"{"status":200}"#).contains("200"));
        assert!(refusal(r#"{"status":503,"hang":true}"#).contains("exclude"));
        assert!(refusal(r#"{"eventErrors":[{"status":500,"message":"x"}]}"#).contains("name or an id"));
        assert!(refusal(r#"{"retryAfter":"2"}"#).contains("needs a status"));
        assert_eq!(Fault::parse("{}"), Ok(Fault::default()));
    }
}
