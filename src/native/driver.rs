//! Drives the exporter from a thread with a private runtime, so that a flush works from any runtime, from none, and
//! after the caller's runtime is gone.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, ThreadId};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, WeakUnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet, LocalSet, spawn_local};
use tokio::time::{Instant, timeout_at};

use super::host::{self, Http};
use super::{DEFAULT_FLUSH_BUDGET, DROP_BUDGET};
use crate::config::Config;
use crate::error::Error;
use crate::exporter::{Action, Exporter, FlushId, FlushSettings, Pushed, Settings};
use crate::health::Health;
use crate::report::{DropReason, FlushReport, Stats};
use crate::wire::Record;

const QUEUE_BYTES: usize = 64 * 1024 * 1024;
const QUEUE_IS_FULL: &str = "langfuse-edge: more than 64 MiB or 100000 observations wait, \
    so the oldest are dropped: is the server slow or out of reach? A lower LANGFUSE_SAMPLE_RATE records less";

/// As many records as travel in one request.
const FULL_BATCH: u64 = 512;
/// How long records that are enough to be sent wait for more, up to a full batch: a request costs as much as a hundred
/// records do.
const COMPANY: Duration = Duration::from_millis(50);
/// Also of the threads that look up host names for the sending thread.
const THREAD_NAME: &str = "langfuse-edge";
/// Beyond the deadline of a flush, so that only one whose thread is stuck or dead is given up.
const REPORT_GRACE: Duration = Duration::from_secs(1);

/// A handle to the sending thread. When it is dropped, it waits a while for what is left to be sent. The thread goes on
/// with what could not be, and ends.
#[derive(Debug)]
pub(crate) struct Driver {
    exporter: Arc<Mutex<Exporter>>,
    health: Arc<Mutex<Health>>,
    has_warned: Arc<AtomicBool>,
    flush_at: u64,
    commands: UnboundedSender<Command>,
    thread: ThreadId,
}

enum Command {
    /// Drive a flush that has begun, and tell how it ended.
    Drive(FlushId, Reply),
    /// Tell when so much time has passed: what waits may run anywhere, and has no timer.
    Wake(Duration, oneshot::Sender<()>),
    /// Records wait that nobody flushes: send them when the interval is over.
    SendInAWhile,
    /// As many records wait as are sent without anybody asking.
    SendSoon,
    /// As many as travel in one request.
    SendNow,
    /// Records have waited for as long as they may.
    IntervalIsOver,
}

type Reply = Box<dyn FnOnce(FlushReport) + Send>;

impl Driver {
    pub(crate) fn start(config: &Config) -> Result<Self, Error> {
        let settings = Settings {
            queue_bytes: QUEUE_BYTES,
            attempt_timeout: config.timeout(),
            gives_up_ambiguous: config.gives_up_ambiguous(),
            ..Settings::default()
        };
        let exporter = Arc::new(Mutex::new(Exporter::new(settings)));
        let health = Arc::default();
        let has_warned = Arc::default();
        let (commands, inbox) = unbounded_channel();
        let flush_at = u64::from(config.flush_at());
        let http = Http::new(config)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().thread_name(THREAD_NAME).build();
        let runtime = runtime.map_err(|error| cannot_start(&error))?;
        let worker = Worker {
            exporter: Arc::clone(&exporter),
            health: Arc::clone(&health),
            has_warned: Arc::clone(&has_warned),
            http,
            flush_at,
            interval: config.flush_interval(),
            is_overdue: Cell::new(false),
            commands: commands.downgrade(),
        };
        let thread = thread::Builder::new()
            .name(THREAD_NAME.to_owned())
            .spawn(move || LocalSet::new().block_on(&runtime, Rc::new(worker).run(inbox)))
            .map_err(|error| cannot_start(&error))?;
        Ok(Self { exporter, health, has_warned, flush_at, commands, thread: thread.thread().id() })
    }

    pub(crate) fn push(&self, record: Record) {
        let (waiting, is_full) = {
            let now = host::now();
            let mut exporter = lock(&self.exporter);
            let before = exporter.stats();
            let pushed = exporter.push(record, now);
            let after = exporter.stats();
            let is_closed = pushed == Pushed::Dropped(DropReason::Shutdown);
            (after.queued, after.dropped > before.dropped && !is_closed)
        };
        // Not under the lock: a logger of the user's may record.
        if is_full && !self.has_warned.swap(true, Ordering::Relaxed) {
            host::warn(QUEUE_IS_FULL);
        }
        if waiting == self.flush_at.max(FULL_BATCH) {
            self.send(Command::SendNow);
        } else if waiting == self.flush_at {
            self.send(Command::SendSoon);
        } else if waiting == 1 {
            self.send(Command::SendInAWhile);
        }
    }

    /// Begins a flush; the future waits for its report.
    pub(crate) fn flush(&self, settings: FlushSettings) -> impl Future<Output = FlushReport> + use<> {
        let (reply, answer) = oneshot::channel();
        // The receiver may be gone: a cancelled flush goes on without anybody to tell.
        self.drive(settings, Box::new(move |report| drop(reply.send(report))));
        let exporter = Arc::clone(&self.exporter);
        async move { answer.await.unwrap_or_else(|_| nothing_sent(&exporter)) }
    }

    pub(crate) fn flush_blocking(&self, settings: FlushSettings) -> FlushReport {
        let patience = settings.budget.saturating_add(REPORT_GRACE);
        let (reply, answer) = std::sync::mpsc::sync_channel(1);
        self.drive(settings, Box::new(move |report| drop(reply.send(report))));
        // The sending thread cannot wait for itself: it is there in a logger of the user's.
        let report = if self.is_this_thread() { None } else { answer.recv_timeout(patience).ok() };
        report.unwrap_or_else(|| nothing_sent(&self.exporter))
    }

    /// Waits without a runtime.
    pub(crate) fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + use<> {
        let (wake, woken) = oneshot::channel();
        self.send(Command::Wake(duration, wake));
        // When the thread has ended, at once.
        async move { drop(woken.await) }
    }

    pub(crate) fn stats(&self) -> Stats {
        lock(&self.exporter).stats()
    }

    pub(crate) fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn remote(&self) -> Remote {
        Remote { exporter: Arc::downgrade(&self.exporter), commands: self.commands.downgrade() }
    }

    fn drive(&self, settings: FlushSettings, reply: Reply) {
        let now = host::now();
        let flush = lock(&self.exporter).begin_flush(settings, now);
        self.send(Command::Drive(flush, reply));
    }

    fn is_this_thread(&self) -> bool {
        thread::current().id() == self.thread
    }

    /// The thread ends only when this handle is gone, so there is somebody to read this.
    fn send(&self, command: Command) {
        drop(self.commands.send(command));
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let Stats { queued, leased, .. } = self.stats();
        if queued + leased > 0 {
            self.flush_blocking(DROP_BUDGET.into());
        }
    }
}

/// Reaches the sending thread, and keeps no client alive.
pub(crate) struct Remote {
    exporter: Weak<Mutex<Exporter>>,
    commands: WeakUnboundedSender<Command>,
}

impl Remote {
    /// None when the client is gone, which has been flushed then.
    pub(crate) async fn flush(&self, settings: FlushSettings) -> Option<FlushReport> {
        let (reply, answer) = oneshot::channel();
        {
            let (exporter, commands) = (self.exporter.upgrade()?, self.commands.upgrade()?);
            let now = host::now();
            let flush = lock(&exporter).begin_flush(settings, now);
            drop(commands.send(Command::Drive(flush, Box::new(move |report| drop(reply.send(report))))));
        }
        answer.await.ok()
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.commands.strong_count() > 0
    }
}

struct Worker {
    exporter: Arc<Mutex<Exporter>>,
    health: Arc<Mutex<Health>>,
    /// It was said that records are dropped, and since then no flush has delivered everything.
    has_warned: Arc<AtomicBool>,
    http: Http,
    flush_at: u64,
    interval: Duration,
    /// The interval was over while a flush that nobody asked for was under way.
    is_overdue: Cell<bool>,
    /// Weak, so that the thread ends when the handle is gone.
    commands: WeakUnboundedSender<Command>,
}

impl Worker {
    async fn run(self: Rc<Self>, mut inbox: UnboundedReceiver<Command>) {
        let mut due = None;
        // A flush that nobody asked for. There is one at a time, so that a burst travels in full batches.
        let mut own = None::<JoinHandle<()>>;
        let mut flushes = JoinSet::new();
        loop {
            while flushes.try_join_next().is_some() {}
            let command = match due {
                None => inbox.recv().await,
                Some(due) => timeout_at(due, inbox.recv()).await.unwrap_or(Some(Command::IntervalIsOver)),
            };
            let is_sending = own.as_ref().is_some_and(|own| !own.is_finished());
            match command {
                Some(Command::Drive(flush, reply)) => {
                    let worker = Rc::clone(&self);
                    flushes.spawn_local(async move { reply(worker.drive(flush).await) });
                }
                Some(Command::Wake(duration, mut wake)) => {
                    let timer = async move {
                        tokio::select! {
                            () = host::sleep(duration) => drop(wake.send(())),
                            () = wake.closed() => (),
                        }
                    };
                    drop(spawn_local(timer));
                }
                Some(Command::SendInAWhile) => {
                    due = due.or_else(|| self.next_due());
                }
                Some(Command::IntervalIsOver) if is_sending => {
                    due = None;
                    self.is_overdue.set(true);
                }
                Some(Command::SendSoon | Command::SendNow) if is_sending => (),
                Some(Command::SendSoon) => {
                    let soon = Instant::now() + COMPANY;
                    due = Some(due.map_or(soon, |due| due.min(soon)));
                }
                Some(Command::SendNow | Command::IntervalIsOver) => {
                    // What this flush does not cover waits for as long at most.
                    due = if self.waiting() > 0 { self.next_due() } else { None };
                    let worker = Rc::clone(&self);
                    own = Some(spawn_local(async move { worker.send_by_itself().await }));
                }
                None => {
                    self.send_everything().await;
                    // Somebody may wait for a report.
                    while flushes.join_next().await.is_some() {}
                    return;
                }
            }
        }
    }

    async fn send_by_itself(&self) {
        let report = self.send_everything().await;
        let is_overdue = self.is_overdue.take();
        // After a failure the next one waits for the interval.
        let waiting = self.waiting();
        if report.retained > 0 {
            return;
        }
        if is_overdue || waiting >= self.flush_at.max(FULL_BATCH) {
            self.tell(Command::SendNow);
        } else if waiting >= self.flush_at {
            self.tell(Command::SendSoon);
        }
    }

    async fn send_everything(&self) -> FlushReport {
        let now = host::now();
        let flush = lock(&self.exporter).begin_flush(DEFAULT_FLUSH_BUDGET, now);
        self.drive(flush).await
    }

    async fn drive(&self, flush: FlushId) -> FlushReport {
        loop {
            let now = host::now();
            let action = lock(&self.exporter).poll(flush, now);
            match action {
                Action::Send(request) => {
                    let lease = request.lease;
                    let outcome = self.http.post(request).await;
                    let now = host::now();
                    lock(&self.exporter).handle_response(lease, &outcome, now);
                }
                Action::HandOver(request) => lock(&self.exporter).handle_hand_over(request.lease, false),
                Action::WaitUntil(time) => host::sleep(time.since(host::now())).await,
                Action::Done(report) => {
                    let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
                    health.note(&report, host::now());
                    drop(health);
                    host::debug(format_args!("langfuse-edge: flush: {report}"));
                    if report.ok {
                        self.has_warned.store(false, Ordering::Relaxed);
                    }
                    if self.waiting() > 0 {
                        // What it retained, or did not cover.
                        self.tell(Command::SendInAWhile);
                    }
                    return report;
                }
            }
        }
    }

    /// When the interval that begins now is over, if there is one. It is up to a fifth shorter than the setting says, lest
    /// processes that began together send together for ever.
    fn next_due(&self) -> Option<Instant> {
        let [chance] = host::random();
        let shorter = self.interval / 5 * u32::from(chance) / u32::from(u8::MAX);
        (!self.interval.is_zero()).then(|| Instant::now() + self.interval - shorter)
    }

    fn waiting(&self) -> u64 {
        lock(&self.exporter).stats().queued
    }

    /// When the handle is gone, [`run`](Self::run) sends what is left.
    fn tell(&self, command: Command) {
        if let Some(commands) = self.commands.upgrade() {
            drop(commands.send(command));
        }
    }
}

/// Whether a client sends on this thread.
#[cfg(feature = "tracing")]
pub(super) fn is_sending_thread() -> bool {
    thread::current().name() == Some(THREAD_NAME)
}

fn cannot_start(error: &std::io::Error) -> Error {
    Error::configuration(format!("the sending thread cannot be started: {error}"))
}

/// The report of a flush that the sending thread tells nothing of.
fn nothing_sent(exporter: &Mutex<Exporter>) -> FlushReport {
    let Stats { queued, leased, .. } = lock(exporter).stats();
    FlushReport { retained: queued + leased, ..FlushReport::default() }
}

fn lock(exporter: &Mutex<Exporter>) -> MutexGuard<'_, Exporter> {
    exporter.lock().unwrap_or_else(PoisonError::into_inner)
}
