//! How a client is doing, for who asks: why it is disabled, how its deliveries go.

use std::sync::Arc;

use serde::Serialize;

use crate::report::FlushReport;
use crate::retry::Outcome;
use crate::time::Timestamp;

/// Why a client records nothing, if it does not.
#[derive(Clone, Debug, Default)]
pub(crate) struct WhyDisabled(Option<Arc<str>>);

impl WhyDisabled {
    pub(crate) fn because(why: &str) -> Self {
        Self(Some(why.into()))
    }

    /// Of an option that is not set, or that switches it off.
    pub(crate) fn for_want_of(missing: Option<&str>) -> Self {
        match missing {
            Some(missing) => Self::because(&format!("{missing} is not set")),
            None => Self::because("enabled (LANGFUSE_TRACING_ENABLED) is false"),
        }
    }

    pub(crate) fn words(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

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
