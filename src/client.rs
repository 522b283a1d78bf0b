//! The client for Rust programs, native or compiled to wasm: the same code over either driver.

use std::fmt::Display;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::config::{Config, Options, Setup};
use crate::context::{self, Current};
use crate::error::Error;
use crate::exporter::{FlushSettings, Scope};
use crate::id::{ObservationId, SpanContext, TraceId};
use crate::observation::{Attributes, Field, Level, ObservationData, ObservationKind, Text, TraceAttributes};
use crate::open::{Open, Place};
use crate::plain;
use crate::platform::{self, Driver, host};
use crate::report::{FlushReport, Stats};
use crate::time::Timestamp;
use crate::wire::{self, ScoreData};

/// A Langfuse client. Cheap to clone; all clones share one queue.
///
/// Recording never fails, never blocks and never panics because of the network or the server.
#[derive(Clone, Debug)]
pub struct Langfuse {
    enabled: Option<Arc<Enabled>>,
}

#[derive(Debug)]
struct Enabled {
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
    fn record(&self, observation: ObservationData, end: Timestamp) {
        let Self { driver, config, .. } = self;
        driver.push(wire::encode(observation, end, config.environment(), config.release()));
    }

    /// Ends what nobody has ended in time.
    fn end_neglected(&self, now: Timestamp) {
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

    /// Nothing of the user's or of the host's is called under this lock.
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Langfuse {
    /// A client as the environment variables of [`Options::or_env`] say: disabled, with one warning, when the
    /// keys are absent.
    ///
    /// # Errors
    /// [`Error::is_configuration`], naming the variable, when one has a value that cannot be used.
    pub fn from_env() -> Result<Self, Error> {
        Self::new(&Options::default().or_env(&host::env))
    }

    /// A client with these options.
    ///
    /// # Errors
    /// [`Error::is_configuration`], naming the option, when one has a value that cannot be used.
    pub fn new(options: &Options) -> Result<Self, Error> {
        match options.parse()? {
            Setup::Enabled(config) => {
                let driver = Driver::start(&config)?;
                let enabled = Enabled { driver, config, open: Mutex::default() };
                Ok(Self { enabled: Some(Arc::new(enabled)) })
            }
            Setup::Disabled { missing } => {
                if let Some(missing) = missing {
                    warn_once(missing);
                }
                Ok(Self::disabled())
            }
        }
    }

    /// A client whose every call is a no-op.
    #[must_use]
    pub fn disabled() -> Self {
        Self { enabled: None }
    }

    /// Whether anything is recorded.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled.is_some()
    }

    /// Begins to describe an observation: a child of the current one, or the root of a new trace.
    pub fn observe(&self, name: impl Into<String>) -> ObservationBuilder {
        ObservationBuilder::new(self.clone(), name.into(), context::current())
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
        let enabled = self.enabled.clone();
        async move {
            // The client is not kept for it: a flush that is dropped midway must not wait as the client's last clone does.
            let Some(report) = enabled.map(|enabled| enabled.flusher().flush(settings)) else {
                return FlushReport::nothing_to_do();
            };
            report.await
        }
    }

    /// Begins a flush that nobody waits for.
    pub fn flush_in_background(&self) {
        if let Some(driver) = self.flusher() {
            driver.flush_in_background(platform::DEFAULT_FLUSH_BUDGET.into());
        }
    }

    /// Totals since the client was made; all zero when it is disabled.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.enabled.as_ref().map(|enabled| enabled.driver.stats()).unwrap_or_default()
    }

    /// Records a score, whose JSON `body` has an id or an environment only if it says so.
    pub(crate) fn record_score(
        &self,
        id: Option<&str>,
        trace_id: Option<TraceId>,
        body: &str,
        has_environment: bool,
    ) {
        let Some(enabled) = self.enabled.as_deref() else { return };
        if trace_id.is_none_or(|trace_id| enabled.keeps(trace_id)) {
            let environment = enabled.config.environment().filter(|_| !has_environment);
            let recorded = &host::iso8601(host::now());
            let score = ScoreData { id, trace_id, body, environment, recorded };
            enabled.driver.push(wire::encode_score(&score));
        }
    }

    /// See [`Enabled::flusher`].
    pub(crate) fn flusher(&self) -> Option<&Driver> {
        self.enabled.as_deref().map(Enabled::flusher)
    }
}

/// A process that makes a client for every request says it once all the same.
fn warn_once(missing: &str) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if !WARNED.swap(true, Ordering::Relaxed) {
        host::warn(&["langfuse-edge: tracing is disabled because ", missing, " is not set"].concat());
    }
}

/// Token counts of a model call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Usage {
    /// Tokens that went in.
    pub input: u64,
    /// Tokens that came out.
    pub output: u64,
}

impl Usage {
    /// Counts of tokens in and out; Langfuse adds up the total.
    #[must_use]
    pub fn new(input: u64, output: u64) -> Self {
        Self { input, output }
    }
}

/// Describes an observation before it starts.
#[derive(Debug)]
#[must_use = "an observation is recorded once it is started and ended"]
pub struct ObservationBuilder {
    langfuse: Langfuse,
    name: String,
    pub(crate) kind: ObservationKind,
    parent: Option<Current>,
    parent_is_remote: bool,
    pub(crate) start: Option<Timestamp>,
    pub(crate) attributes: Attributes,
    pub(crate) trace: Option<TraceAttributes>,
    /// Default: a new id, in the trace of the parent or in a new one.
    pub(crate) context: Option<SpanContext>,
}

impl ObservationBuilder {
    pub(crate) fn new(langfuse: Langfuse, name: String, parent: Option<Current>) -> Self {
        Self {
            langfuse,
            name,
            kind: ObservationKind::Span,
            parent,
            parent_is_remote: false,
            start: None,
            attributes: Attributes::default(),
            trace: None,
            context: None,
        }
    }

    /// What it stands for. Default: a span.
    pub fn kind(mut self, kind: ObservationKind) -> Self {
        self.kind = kind;
        self
    }

    /// Continues a trace that began in another process.
    pub fn parent(mut self, context: SpanContext) -> Self {
        let trace = self.parent.take().map(|parent| parent.trace).unwrap_or_default();
        self.parent = Some(Current { context, trace, start: Timestamp::default() });
        self.parent_is_remote = true;
        self
    }

    /// When it began, if not now.
    pub fn start_time(mut self, start: Timestamp) -> Self {
        self.start = Some(start);
        self
    }

    /// What went in.
    pub fn input(mut self, input: &(impl Serialize + ?Sized)) -> Self {
        self.attributes.fields.set(Field::Input, to_text(input));
        self
    }

    /// Anything else, by name.
    pub fn metadata(mut self, name: &str, value: &(impl Serialize + ?Sized)) -> Self {
        self.attributes.metadata.set(name, to_text(value));
        self
    }

    /// Takes over everything that `attributes` says.
    pub fn attributes(mut self, attributes: Attributes) -> Self {
        self.attributes.merge(attributes);
        self
    }

    /// The model's name.
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.attributes.fields.set(Field::Model, model.into());
        self
    }

    /// The model's parameters, an object.
    pub fn model_parameters(mut self, parameters: &(impl Serialize + ?Sized)) -> Self {
        set_object(&mut self.attributes, Field::ModelParameters, parameters);
        self
    }

    /// The user its trace belongs to.
    pub fn user_id(mut self, user_id: impl Into<String>) -> Self {
        self.trace_attributes().fields.set(Field::UserId, user_id.into());
        self
    }

    /// The session its trace belongs to.
    pub fn session_id(mut self, session_id: impl Into<String>) -> Self {
        self.trace_attributes().fields.set(Field::SessionId, session_id.into());
        self
    }

    /// The name of its trace.
    pub fn trace_name(mut self, name: impl Into<String>) -> Self {
        self.trace_attributes().fields.set(Field::TraceName, name.into());
        self
    }

    /// A tag of its trace.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.trace_attributes().tags.push(tag.into());
        self
    }

    /// Starts the observation.
    pub fn start(self) -> Observation {
        let is_local_root = self.parent.is_none() || self.parent_is_remote;
        let mut earliest_start = Timestamp::default();
        let (above, parent, inherited) = match self.parent {
            Some(Current { context, trace, start }) => {
                earliest_start = start;
                (Some(context.trace_id), Some(context.observation_id), trace)
            }
            None => (None, None, Arc::default()),
        };
        let context = self.context.unwrap_or_else(|| SpanContext {
            trace_id: above.unwrap_or_else(|| TraceId::from_random(host::random())),
            observation_id: ObservationId::from_random(host::random()),
        });
        // A clock that was set back must not let a child begin before its parent.
        let now = host::now();
        let start = self.start.unwrap_or_else(|| now.max(earliest_start));
        let trace = self.trace.map_or(inherited, Arc::new);
        let mut place = None;
        if let Some(enabled) =
            self.langfuse.enabled.as_deref().filter(|enabled| enabled.keeps(context.trace_id))
        {
            let data = ObservationData {
                context,
                parent,
                is_local_root,
                kind: self.kind,
                name: self.name,
                start,
                attributes: self.attributes,
                trace: Arc::clone(&trace),
            };
            if self.kind == ObservationKind::Event {
                enabled.record(data, now);
            } else {
                place = Some(enabled.open().start(Box::new(data), now));
                enabled.end_neglected(now);
            }
        }
        Observation { langfuse: self.langfuse, context, trace, start, place }
    }

    fn trace_attributes(&mut self) -> &mut TraceAttributes {
        let parent = self.parent.as_ref();
        self.trace.get_or_insert_with(|| parent.map(|parent| (*parent.trace).clone()).unwrap_or_default())
    }
}

/// An observation that has started. It is recorded when it ends, complete, once; one that is dropped ends then,
/// and with level ERROR when that is because of a panic.
///
/// One that is open for more than an hour, or the oldest of more than 10,000 open ones, is ended with level WARNING and
/// a status message that says why.
#[derive(Debug)]
pub struct Observation {
    langfuse: Langfuse,
    context: SpanContext,
    trace: Arc<TraceAttributes>,
    start: Timestamp,
    /// None when it is not recorded, or was when it started.
    place: Option<Place>,
}

impl Observation {
    pub(crate) fn langfuse(&self) -> &Langfuse {
        &self.langfuse
    }

    /// Its place in its trace.
    #[must_use]
    pub fn context(&self) -> SpanContext {
        self.context
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> ObservationId {
        self.context.observation_id
    }

    /// Its trace's id.
    #[must_use]
    pub fn trace_id(&self) -> TraceId {
        self.context.trace_id
    }

    /// Begins to describe a child.
    pub fn observe(&self, name: impl Into<String>) -> ObservationBuilder {
        ObservationBuilder::new(self.langfuse.clone(), name.into(), Some(self.current()))
    }

    /// Begins to describe a child that is a call of a language model.
    pub fn generation(&self, name: impl Into<String>) -> ObservationBuilder {
        self.observe(name).kind(ObservationKind::Generation)
    }

    /// Runs `future` with this as the current observation, so that what it observes becomes a child.
    pub fn scope<F: Future>(&self, future: F) -> impl Future<Output = F::Output> {
        context::within(self.current(), future)
    }

    /// What went in.
    pub fn input(&self, input: &(impl Serialize + ?Sized)) -> &Self {
        self.set(Field::Input, to_text(input))
    }

    /// What came out.
    pub fn output(&self, output: &(impl Serialize + ?Sized)) -> &Self {
        self.set(Field::Output, to_text(output))
    }

    /// Anything else, by name.
    pub fn metadata(&self, name: &str, value: &(impl Serialize + ?Sized)) -> &Self {
        let text = to_text(value);
        self.update(|attributes| attributes.metadata.set(name, text))
    }

    /// Token counts.
    pub fn usage(&self, usage: Usage) -> &Self {
        self.update(|attributes| set_object(attributes, Field::UsageDetails, &usage))
    }

    /// How serious it is.
    pub fn level(&self, level: Level) -> &Self {
        self.set(Field::Level, level.as_str())
    }

    /// A sentence to go with the level.
    pub fn status_message(&self, message: impl Into<String>) -> &Self {
        self.set(Field::StatusMessage, message.into())
    }

    /// Level ERROR, with the error as the status message.
    pub fn error(&self, error: &(impl Display + ?Sized)) -> &Self {
        self.level(Level::Error).status_message(error.to_string())
    }

    /// Ends it now. Ending again does nothing.
    pub fn end(&self) {
        self.end_at(host::now());
    }

    /// Ends it, at a time that is not now.
    pub fn end_at(&self, end: Timestamp) {
        if let Some((enabled, place)) = self.kept() {
            let ended = enabled.open().end(place, self.context);
            if let Some(observation) = ended {
                enabled.record(*observation, end);
            }
        }
    }

    /// Takes over everything that `attributes` says.
    pub fn attributes(&self, attributes: Attributes) -> &Self {
        self.update_as(None, attributes)
    }

    /// As `attributes`, and says what it stands for from now on, if that changes.
    pub(crate) fn update_as(&self, kind: Option<ObservationKind>, attributes: Attributes) -> &Self {
        self.change(|observation| {
            observation.kind = kind.unwrap_or(observation.kind);
            observation.attributes.merge(attributes);
        });
        self
    }

    /// Replaces what it says of its trace. Children that start from now on say what it said when it started.
    pub fn trace(&self, trace: TraceAttributes) -> &Self {
        self.change(|observation| observation.trace = Arc::new(trace));
        self
    }

    /// Whether it has not ended yet, and will be recorded when it does.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.kept().is_some_and(|(enabled, place)| enabled.open().get(place, self.context).is_some())
    }

    /// See [`Attributes::complain`].
    pub(crate) fn complain(&self, level: Level, why: &str) {
        self.update(|attributes| attributes.complain(level, why));
    }

    fn set(&self, field: Field, text: impl Into<Text>) -> &Self {
        self.update(|attributes| attributes.fields.set(field, text))
    }

    fn update(&self, change: impl FnOnce(&mut Attributes)) -> &Self {
        self.change(|observation| change(&mut observation.attributes));
        self
    }

    fn change(&self, change: impl FnOnce(&mut ObservationData)) {
        if let Some((enabled, place)) = self.kept()
            && let Some(observation) = enabled.open().get(place, self.context)
        {
            change(observation);
        }
    }

    /// Who keeps it while it is open, and where.
    fn kept(&self) -> Option<(&Enabled, Place)> {
        Some((self.langfuse.enabled.as_deref()?, self.place?))
    }

    pub(crate) fn current(&self) -> Current {
        Current { context: self.context, trace: Arc::clone(&self.trace), start: self.start }
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.complain(Level::Error, "panicked");
        }
        self.end();
    }
}

/// A string as it is, anything else as JSON. What cannot be serialized is replaced by a note: recording never fails.
fn to_text(value: &(impl Serialize + ?Sized)) -> Text {
    if let Ok(text) = value.serialize(plain::Plain) {
        return text.into();
    }
    serde_json::to_string(value).map_or_else(|_| Text::from("[not serializable]"), Text::from)
}

/// JSON text, when it is an object: Langfuse takes nothing else here.
fn set_object(attributes: &mut Attributes, field: Field, value: &(impl Serialize + ?Sized)) {
    if let Some(json) = serde_json::to_string(value).ok().filter(|json| json.starts_with('{')) {
        attributes.fields.set(field, json);
    }
}
