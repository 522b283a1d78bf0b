//! The flush of a whole process: what turns something else into observations first, then the client.

use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::Duration;

use crate::client::Langfuse;
use crate::lock::unpoisoned;
use crate::panics::{caught, words};
use crate::platform::{self, host};
use crate::process_wide::langfuse;
use crate::report::FlushReport;

/// What has become of a handler, and why if it failed.
type Finish = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

struct Handler {
    id: u64,
    finish: Arc<dyn Fn(Duration) -> Finish + Send + Sync>,
}

struct Handlers {
    last: u64,
    all: Vec<Handler>,
}

static HANDLERS: Mutex<Handlers> = Mutex::new(Handlers { last: 0, all: Vec::new() });

/// Lets `handler` finish whenever [`flush_langfuse`] or its kin are called, before the client sends: what it records then is
/// sent with the rest. It is told how long it may take, which is half of the flush's time. One that fails, panics or takes
/// longer is said in a warning, and stops nobody.
///
/// It is for what turns something else into observations and may have some that are not recorded yet. Handlers of calls of
/// language models need not be added.
///
/// ```
/// use std::sync::Arc;
///
/// use langfuse_edge::add_flush_handler;
/// # #[derive(Default)]
/// # struct Buffer;
/// # impl Buffer { async fn record(&self) -> Result<(), String> { Ok(()) } }
///
/// let buffer = Arc::new(Buffer::default());
/// let added = add_flush_handler(move |_budget| {
///     let buffer = Arc::clone(&buffer);
///     async move { buffer.record().await }
/// });
/// // …
/// added.remove();
/// ```
pub fn add_flush_handler<Handler, Run, E>(handler: Handler) -> AddedFlushHandler
where
    Handler: Fn(Duration) -> Run + Send + Sync + 'static,
    Run: Future<Output = Result<(), E>> + Send + 'static,
    E: Display,
{
    let handler = Arc::new(handler);
    let finish = move |budget| -> Finish {
        let handler = Arc::clone(&handler);
        Box::pin(async move {
            // What it does before its first await may panic as well.
            match caught(async move { handler(budget).await.map_err(|error| error.to_string()) }).await {
                Ok(result) => result,
                Err(panic) => Err(words(&*panic).unwrap_or("it panicked").to_owned()),
            }
        })
    };
    let mut handlers = lock();
    handlers.last += 1;
    let id = handlers.last;
    handlers.all.push(self::Handler { id, finish: Arc::new(finish) });
    AddedFlushHandler(id)
}

/// A handler that was added; it stays so when this is dropped.
#[derive(Debug)]
pub struct AddedFlushHandler(u64);

impl AddedFlushHandler {
    /// Later flushes leave it out.
    pub fn remove(self) {
        lock().all.retain(|handler| handler.id != self.0);
    }
}

/// Nothing of the user's is called under this lock.
fn lock() -> MutexGuard<'static, Handlers> {
    unpoisoned(HANDLERS.lock())
}

/// Sends everything the process-wide client has recorded so far and waits until it is settled. Handlers of
/// [`add_flush_handler`] finish first, for which they have half of the time, and calls of language models that nobody else
/// will end are ended.
///
/// It never fails: what could not be delivered is logged as one warning and is in the report. A no-op when Langfuse
/// is not configured.
pub async fn flush_langfuse() -> FlushReport {
    flush_langfuse_within(platform::DEFAULT_FLUSH_BUDGET).await
}

/// As [`flush_langfuse`], which takes 30 s at most (25 s on wasm), within `budget`.
pub async fn flush_langfuse_within(budget: Duration) -> FlushReport {
    let langfuse = langfuse();
    let left = let_handlers_finish(langfuse.clone(), budget).await;
    let report = langfuse.flush_within(left).await;
    warn_unless_ok(&report);
    report
}

/// Begins a flush that nobody waits for.
pub(crate) fn flush_in_background() {
    if has_flush_handlers() {
        platform::run_in_background(async { drop(flush_langfuse().await) });
    } else {
        langfuse().flush_in_background();
    }
}

pub(crate) fn warn_unless_ok(report: &FlushReport) {
    if !report.ok {
        host::warn(&format!("langfuse-edge: flush: {report}"));
    }
}

pub(crate) fn has_flush_handlers() -> bool {
    !lock().all.is_empty()
}

/// Gives the time that is left.
pub(crate) async fn let_handlers_finish(langfuse: Langfuse, budget: Duration) -> Duration {
    if !langfuse.is_enabled() {
        return budget;
    }
    let half = budget.mul_f64(0.5);
    let handlers: Vec<_> = lock().all.iter().map(|handler| Arc::clone(&handler.finish)).collect();
    if handlers.is_empty() {
        return budget;
    }
    let start = host::now();
    let mut running: Vec<_> = handlers.iter().map(|finish| finish(half)).collect();
    let mut is_late = pin!(langfuse.sleep(half));
    poll_fn(|cx| {
        running.retain_mut(|handler| match handler.as_mut().poll(cx) {
            Poll::Pending => true,
            Poll::Ready(result) => {
                if let Err(problem) = result {
                    pass_over(&problem);
                }
                false
            }
        });
        if running.is_empty() {
            return Poll::Ready(());
        }
        is_late.as_mut().poll(cx)
    })
    .await;
    running.iter().for_each(|_| pass_over("it took too long"));
    (start + budget).since(host::now()).max(half)
}

pub(crate) fn pass_over(problem: &str) {
    let problem = if problem.is_empty() { "it failed" } else { problem };
    host::warn(&format!("langfuse-edge: flush: a handler was passed over: {problem}"));
}
