//! How the deliveries of a client go, for who asks.

use serde::Serialize;

use crate::report::{FlushReport, Rejection};
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
    /// Takes in how a flush ended.
    pub(crate) fn note(&mut self, report: &FlushReport, now: Timestamp) {
        if report.delivered > 0 {
            self.last_delivery = Some(now);
        }
        if !report.ok {
            let mut message = format!("langfuse-edge: flush: {report}");
            if let Some(Rejection { status, message: words, .. }) = report.rejected.first() {
                message += &format!("; first: {status} {words}");
            }
            self.last_error = Some(LastError { at: now, message });
        }
    }
}
