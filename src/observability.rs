//! The process-wide client.

use std::sync::{Mutex, PoisonError};

use crate::client::Langfuse;
use crate::platform::host;
use crate::report::FlushReport;

static LANGFUSE: Mutex<Option<Langfuse>> = Mutex::new(None);

/// Makes this the process-wide client.
pub fn set_langfuse(langfuse: Langfuse) {
    *LANGFUSE.lock().unwrap_or_else(PoisonError::into_inner) = Some(langfuse);
}

/// The process-wide client: the one that was set, else one made from the environment on first use.
///
/// Without keys, or with a variable that cannot be used, it is disabled, and one warning says why.
#[must_use]
pub fn langfuse() -> Langfuse {
    let mut langfuse = LANGFUSE.lock().unwrap_or_else(PoisonError::into_inner);
    let from_env = || {
        Langfuse::from_env().unwrap_or_else(|error| {
            host::warn(&format!("Langfuse tracing is disabled: {error}"));
            Langfuse::disabled()
        })
    };
    langfuse.get_or_insert_with(from_env).clone()
}

/// Sends everything the process-wide client has recorded so far, and waits until it is settled.
///
/// It never fails: what could not be delivered is logged as one warning and is in the report. A no-op when Langfuse
/// is not configured.
pub async fn flush_langfuse() -> FlushReport {
    let report = langfuse().flush().await;
    if !report.ok {
        let FlushReport { delivered, retained, dropped, rejected, .. } = &report;
        host::warn(&format!(
            "Langfuse flush: {delivered} delivered, {} rejected, {retained} retained, {dropped} dropped",
            rejected.len()
        ));
    }
    report
}
