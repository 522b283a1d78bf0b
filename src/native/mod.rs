//! The driver for native programs: one thread per client, with a runtime of its own.

mod blocking;
mod driver;
mod guard;
#[cfg_attr(test, expect(dead_code, reason = "the tests of interleavings have a server of their own"))]
pub(crate) mod host;
mod shutdown;
#[cfg(not(test))]
mod threads;
#[cfg(test)]
#[path = "../../tests/interleavings/threads.rs"]
mod threads;
#[cfg(feature = "tracing")]
mod tracing;
mod verdicts;

#[cfg(test)]
#[path = "../../tests/interleavings/stories.rs"]
mod interleavings;

use std::time::Duration;

pub use blocking::flush_langfuse_blocking;
pub(crate) use blocking::run_in_background;
pub(crate) use driver::Driver;
pub use guard::{FlushGuard, init, init_with};
pub use shutdown::shutdown_signal;
#[cfg(feature = "tracing")]
pub use tracing::LangfuseLayer;
pub use verdicts::parse_verdicts;

use crate::client::{Langfuse, end_orphans};
use crate::report::FlushReport;
pub(crate) use crate::state::State;

/// How long a flush may take unless told otherwise.
pub(crate) const DEFAULT_FLUSH_BUDGET: Duration = Duration::from_secs(30);
/// How long whoever drops the last clone of a client waits for what is left.
pub(crate) const DROP_BUDGET: Duration = Duration::from_secs(5);

impl Langfuse {
    /// As [`flush_within`](Self::flush_within), for code that is not async: blocks this thread for at most `timeout`, and a
    /// second more when the sending thread does not answer.
    ///
    /// It works everywhere: without an async runtime, inside one of any flavour (where it blocks the thread all the same),
    /// after the runtime that recorded is gone, in `Drop` and in a panic hook.
    pub fn flush_blocking(&self, timeout: Duration) -> FlushReport {
        end_orphans();
        match self.flusher() {
            Some(driver) => driver.flush_blocking(timeout.into()),
            None => FlushReport::nothing_to_do(),
        }
    }
}
