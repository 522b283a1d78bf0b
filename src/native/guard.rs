//! Flushing where a program ends.

use std::time::Duration;

use super::DROP_BUDGET;
use super::blocking::flush_with_handlers;
use crate::client::Langfuse;
use crate::error::Error;
use crate::process_wide::set_langfuse;

/// Makes the process-wide client as the environment variables of [`Options::or_env`](crate::Options::or_env) say.
///
/// The guard flushes it when it is dropped, so keep it until the end of `main`:
///
/// ```
/// # fn main() -> Result<(), langfuse_edge::Error> {
/// let _guard = langfuse_edge::init()?;
/// langfuse_edge::langfuse().observe("work").start().end();
/// # Ok(())
/// # } // flushed here, within 5 s
/// ```
///
/// # Errors
/// [`Error::is_configuration`], naming the variable, when one has a value that cannot be used.
pub fn init() -> Result<FlushGuard, Error> {
    Langfuse::from_env().map(init_with)
}

/// As [`init`], with a client that is there already.
pub fn init_with(langfuse: Langfuse) -> FlushGuard {
    set_langfuse(langfuse.clone());
    FlushGuard { langfuse, timeout: DROP_BUDGET }
}

/// Flushes its client when it is dropped, also by a panic that unwinds; within 5 s, unless told otherwise. Handlers of
/// [`add_flush_handler`](crate::add_flush_handler) finish first, as in any flush of the process-wide client.
///
/// The process-wide client needs one: a `static` is never dropped. Nor is anything when a program ends by
/// [`std::process::exit`], by [`std::process::abort`], by a panic that aborts, or by a signal: what waits to be sent is then
/// lost, unless [`Langfuse::flush_blocking`] has been called before, in the case of a panic by a
/// [panic hook](std::panic::set_hook), and for signals by [`Langfuse::flush_on_signals`].
#[derive(Debug)]
#[must_use = "it flushes when it is dropped, which is at once unless it has a name"]
pub struct FlushGuard {
    langfuse: Langfuse,
    timeout: Duration,
}

impl FlushGuard {
    /// How long dropping it may take.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The client.
    #[must_use]
    pub fn langfuse(&self) -> &Langfuse {
        &self.langfuse
    }
}

impl Drop for FlushGuard {
    fn drop(&mut self) {
        flush_with_handlers(&self.langfuse, self.timeout);
    }
}
