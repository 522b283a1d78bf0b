//! The process-wide flush for code that is not async, and what runs in the background.

use std::future::Future;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::{DEFAULT_FLUSH_BUDGET, host};
use crate::client::Langfuse;
use crate::observability::flush::{has_flush_handlers, let_handlers_finish, pass_over, warn_unless_ok};
use crate::process_wide::langfuse;
use crate::report::FlushReport;

/// As [`flush_langfuse`](crate::flush_langfuse), for code that is not async: blocks this thread until everything is settled.
///
/// It works where [`Langfuse::flush_blocking`] does. A handler of [`add_flush_handler`](crate::add_flush_handler) that waits
/// for this thread is passed over when half of the time is over.
pub fn flush_langfuse_blocking() -> FlushReport {
    let report = flush_with_handlers(&langfuse(), DEFAULT_FLUSH_BUDGET);
    warn_unless_ok(&report);
    report
}

pub(super) fn flush_with_handlers(langfuse: &Langfuse, budget: Duration) -> FlushReport {
    // A logger of the user's may be there, and who waits for the handlers waits for that thread's timer.
    let is_sending = langfuse.enabled().is_some_and(|enabled| enabled.driver().is_this_thread());
    let left = if has_flush_handlers() && !is_sending { finish_handlers(langfuse, budget) } else { budget };
    langfuse.flush_blocking(left)
}

/// Beyond the time that handlers have, so that only those are given up that block their thread.
const GRACE: Duration = Duration::from_secs(1);

fn finish_handlers(langfuse: &Langfuse, budget: Duration) -> Duration {
    let (tell, finished) = mpsc::sync_channel(1);
    let finishing = let_handlers_finish(langfuse.clone(), budget);
    run_in_background(async move {
        let left = finishing.await;
        // When that was too late, nobody is there to hear it.
        let _ = tell.send(left);
    });
    let half = budget / 2;
    finished.recv_timeout(half + GRACE).unwrap_or_else(|_| {
        pass_over("it blocks its thread");
        half
    })
}

/// Runs `future` on a thread of its own, with a runtime for those who need one.
pub(crate) fn run_in_background(future: impl Future<Output = ()> + Send + 'static) {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(future);
        std::io::Result::Ok(())
    };
    let name = "langfuse-handlers".to_owned();
    let started = thread::Builder::new().name(name).spawn(move || run().map_err(|error| warn(&error)));
    if let Err(error) = started {
        warn(&error);
    }
}

fn warn(error: &std::io::Error) {
    host::warn(&format!("langfuse-edge: flush: the handlers were passed over: no thread for them: {error}"));
}
