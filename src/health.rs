//! How deliveries go, for who asks.

use serde::Serialize;

use crate::report::FlushReport;
use crate::retry::Outcome;
use crate::time::Timestamp;

/// What became of a client's flushes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    pub(crate) last_delivery: Option<Timestamp>,
    pub(crate) last_error: Option<LastError>,
}

/// What the last flush said that was not all well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LastError {
    /// When it ended.
    pub at: Timestamp,
    /// Its counts, and what the server answered.
    pub message: String,
}

impl Health {
    /// Takes in how a flush ended, and what became of its last request that was in vain.
    pub(crate) fn note(&mut self, report: &FlushReport, in_vain: Option<&Outcome>, now: Timestamp) {
        if report.delivered > 0 {
            self.last_delivery = Some(now);
        }
        if report.ok {
            return;
        }
        let mut message = report.to_string();
        if let Some(first) = report.rejected.first() {
            message += &format!("; first: {} {}", first.status, first.message);
        } else if let Some(outcome) = in_vain {
            message += &match outcome {
                Outcome::Response { status, .. } => format!("; the server answered {status}"),
                Outcome::Failed { ambiguous: false } => "; the server cannot be reached".to_owned(),
                Outcome::Failed { ambiguous: true } => "; the server did not answer".to_owned(),
            };
        }
        self.last_error = Some(LastError { at: now, message });
    }
}
