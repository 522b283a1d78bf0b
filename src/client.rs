//! The client for Rust programs, native or compiled to wasm: the same code over either driver.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use crate::config::{Config, Options, Setup};
use crate::context::Context;
use crate::error::Error;
use crate::exporter::{FlushSettings, Scope};
use crate::id::TraceId;
use crate::lock::unpoisoned;
use crate::observation::ObservationData;
use crate::open::Open;
use crate::platform::{self, Driver, State, host};
use crate::recording::{ObservationBuilder, ObservationHandle};
use crate::report::{FlushReport, Stats};
use crate::time::Timestamp;
use crate::wire::{self, ScoreData};

/// A Langfuse client. Cheap to clone; all clones share one queue.
///
/// Recording never fails, never blocks and never panics because of the network or the server.
#[derive(Clone, Debug)]
pub struct Langfuse {
    state: State<Enabled>,
}

#[derive(Debug)]
pub(crate) struct Enabled {
    driver: Driver,
    config: Box<Config>,
    open: Mutex<Open>,
}

impl Enabled {
    /// Whether observations of this trace are recorded. It depends on the id alone, so a trace is kept whole or not.
    fn keeps(&self, trace_id: TraceId) -> bool {
        self.config.sampling().keeps(trace_id)
    }

    /// Records an observation that has ended.
    pub(crate) fn record(&self, observation: ObservationData, end: Timestamp) {
        let Self { driver, config, .. } = self;
        driver.push(wire::encode(observation, end, config.environment(), config.release()));
    }

    /// Ends what nobody has ended in time.
    pub(crate) fn end_neglected(&self, now: Timestamp) {
        let next = || self.open().take_neglected(now);
        while let Some(observation) = next() {
            self.record(*observation, now);
        }
    }

    /// The driver, to begin a flush with: it covers what nobody has ended in time.
    fn flusher(&self) -> &Driver {
        self.end_neglected(host::now());
        &self.driver
    }

    pub(crate) fn driver(&self) -> &Driver {
        &self.driver
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Nothing of the user's or of the host's is called under this lock.
    pub(crate) fn open(&self) -> MutexGuard<'_, Open> {
        unpoisoned(self.open.lock())
    }
}

impl Langfuse {
    /// Begins to say what a client is to be like.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use langfuse_edge::Langfuse;
    ///
    /// # fn main() -> Result<(), langfuse_edge::Error> {
    /// let langfuse = Langfuse::builder()
    ///     .keys("pk-lf-...", "sk-lf-...")
    ///     .environment("staging")
    ///     .sample_rate(0.1)
    ///     .timeout(Duration::from_secs(5))
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder() -> Options {
        Options::default()
    }

    /// A client as the environment variables of [`Options::or_env`] say: disabled, with one warning, when the
    /// keys are absent.
    ///
    /// # Errors
    /// [`Error::is_configuration`], naming the variable, when one has a value that cannot be used.
    pub fn from_env() -> Result<Self, Error> {
        Self::builder().build()
    }

    /// A client with these options and no other, whatever the environment says.
    ///
    /// # Errors
    /// [`Error::is_configuration`], naming the option, when one has a value that cannot be used.
    pub fn new(options: &Options) -> Result<Self, Error> {
        match options.parse()? {
            Setup::Enabled(config) => {
                let driver = Driver::start(&config)?;
                let enabled = Enabled { driver, config, open: Mutex::default() };
                Ok(Self { state: State::enabled(enabled) })
            }
            Setup::Disabled { missing } => {
                if let Some(missing) = missing {
                    warn_once(missing);
                }
                Ok(Self::disabled_because(|| match missing {
                    Some(missing) => format!("{missing} is not set"),
                    None => "enabled (LANGFUSE_TRACING_ENABLED) is false".to_owned(),
                }))
            }
        }
    }

    /// A client whose every call is a no-op.
    #[must_use]
    pub fn disabled() -> Self {
        Self::disabled_because(|| "it was made by Langfuse::disabled()".to_owned())
    }

    pub(crate) fn disabled_because(why: impl FnOnce() -> String) -> Self {
        Self { state: State::disabled(why) }
    }

    pub(crate) fn why_disabled(&self) -> Option<&str> {
        self.state.why_disabled()
    }

    /// Whether anything is recorded.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled().is_some()
    }

    /// Begins to describe an observation: a child of the current one, or the root of a new trace.
    pub fn observe(&self, name: impl Into<String>) -> ObservationBuilder {
        let (parent, trace) = Context::current().parent(self);
        let is_root = parent.is_none();
        let mut builder = ObservationBuilder::new(self.clone(), name.into(), parent);
        builder.trace = trace.filter(|_| is_root).map(|trace| (*trace).clone());
        builder
    }

    /// The current observation of this client, if there is one.
    #[must_use]
    pub fn current_observation(&self) -> Option<ObservationHandle> {
        Context::current().observation_of(self)
    }

    /// Sends everything recorded so far, and waits until each record is delivered, rejected, or honestly reported
    /// as retained; at most 30 s (25 s on wasm).
    #[must_use = "a flush does nothing until it is awaited"]
    pub fn flush(&self) -> impl Future<Output = FlushReport> + use<> {
        self.flush_within(platform::DEFAULT_FLUSH_BUDGET)
    }

    /// As [`flush`](Self::flush), within `budget`.
    #[must_use = "a flush does nothing until it is awaited"]
    pub fn flush_within(&self, budget: Duration) -> impl Future<Output = FlushReport> + use<> {
        self.flush_as(budget.into())
    }

    /// As [`flush_within`](Self::flush_within), but waits only for what belongs to these traces. Other records travel along
    /// where there is room.
    #[must_use = "a flush does nothing until it is awaited"]
    pub fn flush_traces(
        &self,
        traces: Vec<TraceId>,
        budget: Duration,
    ) -> impl Future<Output = FlushReport> + use<> {
        let mut settings = FlushSettings::from(budget);
        settings.scope = Scope::Traces(traces);
        self.flush_as(settings)
    }

    /// Flushes for the last time, for at most 30 s (25 s on wasm). From now on nothing is recorded, and what could not
    /// be delivered is dropped and reported as such.
    #[must_use = "a shutdown does nothing until it is awaited"]
    pub fn shutdown(&self) -> impl Future<Output = FlushReport> + use<> {
        self.flush_as(FlushSettings::last(platform::DEFAULT_FLUSH_BUDGET))
    }

    fn flush_as(&self, settings: FlushSettings) -> impl Future<Output = FlushReport> + use<> {
        let langfuse = self.clone();
        async move {
            let begun = langfuse.begin_flush(settings);
            // The client is not kept for it: a flush that is dropped midway must not wait as the client's last clone does.
            drop(langfuse);
            begun.await
        }
    }

    /// Begins a flush, which goes on also when nobody waits for its report.
    pub(crate) fn begin_flush(&self, settings: FlushSettings) -> impl Future<Output = FlushReport> + use<> {
        end_orphans();
        let report = self.flusher().map(|driver| driver.flush(settings));
        async move {
            match report {
                Some(report) => report.await,
                None => FlushReport::nothing_to_do(),
            }
        }
    }

    /// Begins a flush that nobody waits for.
    pub fn flush_in_background(&self) {
        drop(self.begin_flush(platform::DEFAULT_FLUSH_BUDGET.into()));
    }

    /// Waits, whatever runs the code that does; not at all when the client is disabled.
    pub(crate) fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + use<> {
        let slept = self.enabled().map(|enabled| enabled.driver.sleep(duration));
        async move {
            if let Some(slept) = slept {
                slept.await;
            }
        }
    }

    /// Totals since the client was made; all zero when it is disabled.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.enabled().map(|enabled| enabled.driver.stats()).unwrap_or_default()
    }

    /// Records a score, whose JSON `body` has an id or an environment only if it says so.
    pub(crate) fn record_score(
        &self,
        id: Option<&str>,
        trace_id: Option<TraceId>,
        body: &str,
        has_environment: bool,
    ) {
        let Some(enabled) = self.enabled() else { return };
        if trace_id.is_none_or(|trace_id| enabled.keeps(trace_id)) {
            let environment = enabled.config.environment().filter(|_| !has_environment);
            let recorded = &host::iso8601(host::now());
            let score = ScoreData { id, trace_id, body, environment, recorded };
            enabled.driver.push(wire::encode_score(&score));
        }
    }

    pub(crate) fn enabled(&self) -> Option<&Enabled> {
        self.state.get()
    }

    /// Who records observations of this trace, if anybody does.
    pub(crate) fn recorder(&self, trace_id: TraceId) -> Option<&Enabled> {
        self.enabled().filter(|enabled| enabled.keeps(trace_id))
    }

    /// Whether both are clones of one client.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.state.is(&other.state) || !(self.is_enabled() || other.is_enabled())
    }

    /// See [`Enabled::flusher`].
    pub(crate) fn flusher(&self) -> Option<&Driver> {
        self.enabled().map(Enabled::flusher)
    }
}

impl Options {
    /// A client with these options; what is absent comes from environment variables, as [`or_env`](Self::or_env) says.
    ///
    /// # Errors
    /// [`Error::is_configuration`], naming the option and its variable, when one has a value that cannot be used.
    pub fn build(self) -> Result<Langfuse, Error> {
        Langfuse::new(&self.or_env(&host::env))
    }
}

/// What ends observations that nobody else will end, so that a flush covers them. Absent until there may be some.
pub(crate) static END_ORPHANS: OnceLock<fn()> = OnceLock::new();

pub(crate) fn end_orphans() {
    if let Some(end) = END_ORPHANS.get() {
        end();
    }
}

/// A process that makes a client for every request says it once all the same.
fn warn_once(missing: &str) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if !WARNED.swap(true, Ordering::Relaxed) {
        host::warn(&["langfuse-edge: tracing is disabled because ", missing, " is not set"].concat());
    }
}
