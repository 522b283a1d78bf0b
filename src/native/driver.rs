//! Drives the exporter from a thread with a private runtime, so that a flush works from any runtime, from none, and
//! after the caller's runtime is gone.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::threads::{
    self, AtomicBool, Http, JoinHandle, JoinSet, Mutex, Runtime, ThreadId, UnboundedReceiver,
    UnboundedSender, WeakUnboundedSender, oneshot, spawn, sync_channel, thread, timeout_at,
    unbounded_channel,
};
use super::{DEFAULT_FLUSH_BUDGET, DROP_BUDGET, host};
use crate::config::Config;
use crate::error::Error;
use crate::exporter::{Action, Exporter, FlushId, FlushSettings, Pushed, Settings};
use crate::health::Health;
use crate::lock::unpoisoned;
use crate::report::{DropReason, FlushReport, Stats};
use crate::wire::Record;

const QUEUE_BYTES: usize = 64 * 1024 * 1024;
const QUEUE_IS_FULL: &str = "langfuse-edge: more than 64 MiB or 100000 observations wait, \
    so the oldest are dropped: is the server slow or out of reach? A lower LANGFUSE_SAMPLE_RATE records less";

/// So many records are sent at once. One request takes 512, with room here for those that come while it is made.
const NEARLY_A_BATCH: u64 = 400;
/// How long records that are enough to be sent wait for more: a request costs as much as a hundred records do.
const COMPANY: Duration = Duration::from_millis(50);
/// After a failure, when there is no interval.
const PAUSE: Duration = Duration::from_secs(5);
/// Also of the threads that look up host names for the sending thread.
const THREAD_NAME: &str = "langfuse-edge";
/// Beyond the deadline of a flush, so that only one whose thread is stuck or dead is given up.
const REPORT_GRACE: Duration = Duration::from_secs(1);

/// A handle to the sending thread. When it is dropped, it waits a while for what is left to be sent. The thread goes on
/// with what could not be, and ends.
#[derive(Debug)]
pub(crate) struct Driver {
    shared: Arc<Mutex<Shared>>,
    health: Arc<Mutex<Health>>,
    has_warned: Arc<AtomicBool>,
    pace: Pace,
    commands: UnboundedSender<Command>,
    thread: ThreadId,
}

/// What threads that record and the sending thread share.
#[derive(Debug)]
struct Shared {
    exporter: Exporter,
    /// When the sending thread looks after what waits, without being told again: to wake it costs as much as many records do.
    watch: Option<When>,
}

impl Shared {
    /// Whether the sending thread has to be told that something is to be sent then.
    fn hastens(&mut self, when: Option<When>) -> bool {
        let is_sooner = when > self.watch;
        self.watch = self.watch.max(when);
        is_sooner
    }

    fn waiting(&self) -> u64 {
        self.exporter.stats().queued
    }
}

/// When records are sent that nobody flushes; the later, the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum When {
    AfterInterval,
    /// There may be more of them in a moment.
    Soon,
    /// Also while some are being sent, and after a failure: nobody has to tell the thread anything.
    Now,
}

/// How many records are sent when.
#[derive(Clone, Copy, Debug)]
struct Pace {
    flush_at: u64,
    interval: Duration,
}

impl Pace {
    fn of(self, waiting: u64) -> Option<When> {
        match waiting {
            0 => None,
            _ if waiting >= self.flush_at.max(NEARLY_A_BATCH) => Some(When::Now),
            _ if waiting >= self.flush_at => Some(When::Soon),
            _ => (!self.interval.is_zero()).then_some(When::AfterInterval),
        }
    }
}

enum Command {
    /// Drive a flush that has begun, and tell how it ended.
    Drive(FlushId, Reply),
    /// Tell when so much time has passed: what waits may run anywhere, and has no timer.
    Wake(Duration, oneshot::Sender<()>),
    /// Send what waits.
    Send(When),
    /// Send what waits, but not before a failure is a while ago.
    SendAfterPause,
    /// The time has come that was set for one of these.
    TimeIsUp,
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
        let shared = Arc::new(Mutex::new(Shared { exporter: Exporter::new(settings), watch: None }));
        let health = Arc::default();
        let has_warned = Arc::default();
        let (commands, inbox) = unbounded_channel();
        let pace = Pace { flush_at: config.flush_at().into(), interval: config.flush_interval() };
        let http = Http::new(config)?;
        let runtime = Runtime::new(THREAD_NAME).map_err(|error| cannot_start(&error))?;
        let worker = Worker {
            shared: Arc::clone(&shared),
            health: Arc::clone(&health),
            has_warned: Arc::clone(&has_warned),
            http,
            pace,
            commands: commands.downgrade(),
        };
        let thread = thread::Builder::new()
            .name(THREAD_NAME.to_owned())
            .spawn(move || runtime.run(Arc::new(worker).run(inbox)))
            .map_err(|error| cannot_start(&error))?;
        Ok(Self { shared, health, has_warned, pace, commands, thread: thread.thread().id() })
    }

    pub(crate) fn push(&self, record: Record) {
        let (sooner, is_full) = {
            let now = threads::now();
            let mut shared = unpoisoned(self.shared.lock());
            let before = shared.exporter.stats();
            let pushed = shared.exporter.push(record, now);
            let after = shared.exporter.stats();
            let is_closed = pushed == Pushed::Dropped(DropReason::Shutdown);
            let when = self.pace.of(after.queued);
            (when.filter(|_| shared.hastens(when)), after.dropped > before.dropped && !is_closed)
        };
        // Not under the lock: a logger of the user's may record.
        if is_full && !self.has_warned.swap(true, Ordering::Relaxed) {
            host::warn(QUEUE_IS_FULL);
        }
        if let Some(when) = sooner {
            self.send(Command::Send(when));
        }
    }

    /// Begins a flush; the future waits for its report.
    pub(crate) fn flush(&self, settings: FlushSettings) -> impl Future<Output = FlushReport> + use<> {
        let (reply, answer) = oneshot::channel();
        // The receiver may be gone: a cancelled flush goes on without anybody to tell.
        self.drive(settings, Box::new(move |report| drop(reply.send(report))));
        let shared = Arc::clone(&self.shared);
        async move { answer.await.unwrap_or_else(|_| nothing_sent(&shared)) }
    }

    pub(crate) fn flush_blocking(&self, settings: FlushSettings) -> FlushReport {
        let patience = settings.budget.saturating_add(REPORT_GRACE);
        let (reply, answer) = sync_channel(1);
        self.drive(settings, Box::new(move |report| drop(reply.send(report))));
        // The sending thread cannot wait for itself: it is there in a logger of the user's.
        let report = if self.is_this_thread() { None } else { answer.recv_timeout(patience).ok() };
        report.unwrap_or_else(|| nothing_sent(&self.shared))
    }

    /// Waits without a runtime.
    pub(crate) fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + use<> {
        let (wake, woken) = oneshot::channel();
        self.send(Command::Wake(duration, wake));
        // When the thread has ended, at once.
        async move { drop(woken.await) }
    }

    pub(crate) fn stats(&self) -> Stats {
        unpoisoned(self.shared.lock()).exporter.stats()
    }

    pub(crate) fn health(&self) -> Health {
        unpoisoned(self.health.lock()).clone()
    }

    pub(crate) fn remote(&self) -> Remote {
        Remote { shared: Arc::downgrade(&self.shared), commands: self.commands.downgrade() }
    }

    fn drive(&self, settings: FlushSettings, reply: Reply) {
        let now = threads::now();
        let flush = unpoisoned(self.shared.lock()).exporter.begin_flush(settings, now);
        self.send(Command::Drive(flush, reply));
    }

    pub(super) fn is_this_thread(&self) -> bool {
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
    shared: Weak<Mutex<Shared>>,
    commands: WeakUnboundedSender<Command>,
}

impl Remote {
    /// None when the client is gone, which has been flushed then.
    pub(crate) async fn flush(&self, settings: FlushSettings) -> Option<FlushReport> {
        let (reply, answer) = oneshot::channel();
        {
            let (shared, commands) = (self.shared.upgrade()?, self.commands.upgrade()?);
            let now = threads::now();
            let flush = unpoisoned(shared.lock()).exporter.begin_flush(settings, now);
            drop(commands.send(Command::Drive(flush, Box::new(move |report| drop(reply.send(report))))));
        }
        answer.await.ok()
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.commands.strong_count() > 0
    }
}

struct Worker {
    shared: Arc<Mutex<Shared>>,
    health: Arc<Mutex<Health>>,
    /// It was said that records are dropped, and since then no flush has delivered everything.
    has_warned: Arc<AtomicBool>,
    http: Http,
    pace: Pace,
    /// Weak, so that the thread ends when the handle is gone.
    commands: WeakUnboundedSender<Command>,
}

impl Worker {
    async fn run(self: Arc<Self>, mut inbox: UnboundedReceiver<Command>) {
        let mut due = None::<Instant>;
        // A flush that nobody asked for. There is one at a time, so that a burst travels in full batches.
        let mut own = None::<JoinHandle<()>>;
        let mut flushes = JoinSet::new();
        loop {
            while flushes.try_join_next().is_some() {}
            let command = match due {
                None => inbox.recv().await,
                Some(due) => timeout_at(due, inbox.recv()).await.unwrap_or(Some(Command::TimeIsUp)),
            };
            let is_sending = own.as_ref().is_some_and(|own| !own.is_finished());
            let when = match command {
                Some(Command::Drive(flush, reply)) => {
                    let worker = Arc::clone(&self);
                    flushes.spawn(async move { reply(worker.drive(flush).await) });
                    continue;
                }
                Some(Command::Wake(duration, mut wake)) => {
                    let timer = async move {
                        tokio::select! {
                            () = threads::sleep(duration) => drop(wake.send(())),
                            () = wake.closed() => (),
                        }
                    };
                    drop(spawn(timer));
                    continue;
                }
                // When that ends, it looks at what waits.
                Some(_) if is_sending => continue,
                Some(Command::Send(when)) => Some(when),
                Some(Command::SendAfterPause) => {
                    due = self.interval_from_now().or_else(|| Some(Instant::now() + PAUSE));
                    continue;
                }
                Some(Command::TimeIsUp) => {
                    due = None;
                    self.look()
                }
                None => {
                    self.send_everything().await;
                    // Somebody may wait for a report.
                    while flushes.join_next().await.is_some() {}
                    return;
                }
            };
            let time = match when {
                None => None,
                Some(When::AfterInterval) => self.interval_from_now(),
                Some(When::Soon) => Some(Instant::now() + COMPANY),
                Some(When::Now) => {
                    due = None;
                    let worker = Arc::clone(&self);
                    own = Some(spawn(async move { worker.send_by_itself().await }));
                    continue;
                }
            };
            due = [due, time].into_iter().flatten().min();
        }
    }

    /// What is to be done about what waits, now that a time has come.
    fn look(&self) -> Option<When> {
        let mut shared = unpoisoned(self.shared.lock());
        let waiting = shared.waiting();
        // There may be none, or somebody else has sent them.
        let least = if shared.watch == Some(When::Soon) { self.pace.flush_at } else { 1 };
        shared.watch = if waiting >= least { Some(When::Now) } else { self.pace.of(waiting) };
        shared.watch
    }

    async fn send_by_itself(&self) {
        let report = self.send_everything().await;
        if report.retained > 0 {
            return self.tell(Command::SendAfterPause);
        }
        // A program that has recorded so many may well do so again.
        let is_busy = report.delivered >= self.pace.flush_at;
        let when = {
            let mut shared = unpoisoned(self.shared.lock());
            shared.watch = self.pace.of(shared.waiting()).max(is_busy.then_some(When::Soon));
            shared.watch
        };
        if let Some(when) = when {
            self.tell(Command::Send(when));
        }
    }

    async fn send_everything(&self) -> FlushReport {
        let now = threads::now();
        let flush = unpoisoned(self.shared.lock()).exporter.begin_flush(DEFAULT_FLUSH_BUDGET, now);
        self.drive(flush).await
    }

    async fn drive(&self, flush: FlushId) -> FlushReport {
        loop {
            let now = threads::now();
            let action = unpoisoned(self.shared.lock()).exporter.poll(flush, now);
            match action {
                Action::Send(request) => {
                    let lease = request.lease;
                    let outcome = self.http.post(request).await;
                    let now = threads::now();
                    unpoisoned(self.shared.lock()).exporter.handle_response(lease, &outcome, now);
                }
                Action::HandOver(request) => {
                    unpoisoned(self.shared.lock()).exporter.handle_hand_over(request.lease, false)
                }
                Action::WaitUntil(time) => threads::sleep(time.since(threads::now())).await,
                Action::Done(report) => {
                    unpoisoned(self.health.lock()).note(&report, threads::now());
                    host::debug(format_args!("langfuse-edge: flush: {report}"));
                    if report.ok {
                        self.has_warned.store(false, Ordering::Relaxed);
                    }
                    self.look_after_the_rest();
                    return report;
                }
            }
        }
    }

    /// Sees to what a flush has retained, or did not cover.
    fn look_after_the_rest(&self) {
        let is_alone = {
            let mut shared = unpoisoned(self.shared.lock());
            let is_some = shared.waiting() > 0 && !self.pace.interval.is_zero();
            is_some && shared.hastens(Some(When::AfterInterval))
        };
        if is_alone {
            self.tell(Command::Send(When::AfterInterval));
        }
    }

    /// When the interval that begins now is over, if there is one. It is up to a fifth shorter than the setting says, lest
    /// processes that began together send together for ever.
    fn interval_from_now(&self) -> Option<Instant> {
        let [chance] = host::random();
        let interval = self.pace.interval;
        let shorter = interval / 5 * u32::from(chance) / u32::from(u8::MAX);
        (!interval.is_zero()).then(|| Instant::now() + interval - shorter)
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
fn nothing_sent(shared: &Mutex<Shared>) -> FlushReport {
    let Stats { queued, leased, .. } = unpoisoned(shared.lock()).exporter.stats();
    FlushReport { retained: queued + leased, ..FlushReport::default() }
}
