//! The driver for native programs: one thread per client, with a runtime of its own.

mod driver;
pub(crate) mod host;
mod verdicts;

use std::time::Duration;

pub(crate) use driver::Driver;
pub use verdicts::parse_verdicts;

use crate::client::Langfuse;
use crate::report::FlushReport;

/// How long a flush may take unless told otherwise.
pub(crate) const DEFAULT_FLUSH_BUDGET: Duration = Duration::from_secs(30);

impl Langfuse {
    /// As [`flush`](Self::flush), for code that is not async: blocks this thread for at most 30 s.
    ///
    /// It works inside an async runtime too, where it blocks the thread all the same.
    pub fn flush_blocking(&self) -> FlushReport {
        match self.flusher() {
            Some(driver) => driver.flush_blocking(DEFAULT_FLUSH_BUDGET.into()),
            None => FlushReport::nothing_to_do(),
        }
    }
}
