//! What to do after an attempt, as values: nothing here waits.

use std::time::Duration;

use crate::wire::Record;

/// What became of one attempt to send a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server answered.
    Response {
        /// The HTTP status. A redirect the host does not let us see counts as 0.
        status: u16,
        /// How long the `Retry-After` header asks to be left alone; see [`parse_retry_after`].
        retry_after: Option<Duration>,
        /// The answer's body, or its beginning, kept for the words of a refusal.
        message: String,
        /// What a 207 says of each event; else empty.
        verdicts: Vec<Verdict>,
    },
    /// There was no answer.
    Failed {
        /// The body may have reached the server before the failure.
        ambiguous: bool,
    },
}

/// What a 207 of the ingestion endpoint says of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the drivers read it from the answer, and must miss nothing")]
pub struct Verdict {
    /// The event's id.
    pub id: String,
    /// The status that a request with this event alone would have got.
    pub status: u16,
    /// The words of a refusal.
    pub message: String,
}

/// How a batch goes on after an [`Outcome`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The server has the batch.
    Delivered,
    /// Send it again; not before `after` when the server named a time.
    Retry {
        /// How long the server asks to be left alone.
        after: Option<Duration>,
    },
    /// The request is too large for this server or a proxy before it (413).
    TooLarge,
    /// No request to this server can succeed until its configuration or ours changes
    /// (redirects, 401, 403, 404, 405): keep the batch and leave the server alone for a while.
    Misconfigured,
    /// The server refuses something in the batch for good.
    Refused,
}

/// Classifies an outcome (Langfuse answers 400 when one span of a request is malformed, and refuses all of it).
#[must_use]
pub fn classify(outcome: &Outcome) -> Decision {
    let Outcome::Response { status, retry_after, .. } = outcome else {
        return Decision::Retry { after: None };
    };
    match status {
        200..=299 => Decision::Delivered,
        _ if is_transient(*status) => Decision::Retry { after: *retry_after },
        413 => Decision::TooLarge,
        0 | 300..=399 | 401 | 403 | 404 | 405 => Decision::Misconfigured,
        _ => Decision::Refused,
    }
}

/// Whether the same request may succeed later.
fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}

/// What became of one record of a batch that a server has taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reception<'a> {
    Delivered,
    Retry,
    Refused { status: u16, message: &'a str },
}

impl Outcome {
    /// What this answer, a success as a whole, says of one record. A 207 must name the event it came in: one that it passes
    /// over is sent again. Any other success is one for all.
    pub(crate) fn reception(&self, record: &Record) -> Reception<'_> {
        let Self::Response { status: 207, verdicts, .. } = self else { return Reception::Delivered };
        let Some(event) = record.event_id() else { return Reception::Delivered };
        match verdicts.iter().find(|verdict| verdict.id == event) {
            Some(Verdict { status: 200..=299, .. }) => Reception::Delivered,
            Some(verdict) if !is_transient(verdict.status) => {
                Reception::Refused { status: verdict.status, message: &verdict.message }
            }
            _ => Reception::Retry,
        }
    }

    /// The HTTP status, 0 without an answer.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Response { status, .. } => *status,
            Self::Failed { .. } => 0,
        }
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Response { retry_after, .. } => *retry_after,
            Self::Failed { .. } => None,
        }
    }
}

/// The longest a server's `Retry-After` is obeyed, so that a wrong header cannot stop delivery for good.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(600);

/// Reads `Retry-After` (RFC 9110 §10.2.3): seconds, the form that Langfuse sends, or a date, through the host's
/// `until`, which says how far off it is.
#[must_use]
pub fn parse_retry_after(value: &str, until: impl FnOnce(&str) -> Option<Duration>) -> Option<Duration> {
    let value = value.trim_ascii();
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    // Only overflow can fail here, and a number that large means "a long time".
    let seconds = || Duration::from_secs(value.parse::<u32>().unwrap_or(u32::MAX).into());
    let wait = if is_number { seconds() } else { until(value)? };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
/// Even the luckiest draw leaves a struggling server this long.
const SHORTEST_BACKOFF: Duration = Duration::from_millis(50);

/// Exponential back-off with full jitter: a point between nothing and `500 ms · 2^(failures - 1)`, at most 10 s.
///
/// `jitter` picks the point, 0 being the earliest and `u32::MAX` the latest.
#[must_use]
pub fn backoff(failures: u32, jitter: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let ceiling = (FIRST_BACKOFF * (1 << doublings)).min(LONGEST_BACKOFF);
    // In millionths of a second and 65536ths of the ceiling, which stays within 64 bits.
    let micros = ceiling.as_secs() * 1_000_000 + u64::from(ceiling.subsec_micros());
    Duration::from_micros((micros * u64::from(jitter >> 16)) >> 16).max(SHORTEST_BACKOFF)
}
