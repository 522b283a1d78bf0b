//! Observations as programs handle them: described, started, changed while they are open, ended.

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;

use serde::Serialize;

use crate::client::{Enabled, Langfuse};
use crate::context::{self, Context};
use crate::describe::to_text;
use crate::id::{ObservationId, SpanContext, TraceId};
use crate::observation::{Attributes, Field, Level, ObservationData, ObservationKind, TraceAttributes};
use crate::open::Place;
use crate::platform::host;
use crate::time::Timestamp;

/// What a child takes from the observation above it.
#[derive(Clone, Debug)]
pub(crate) struct Parent {
    pub(crate) context: SpanContext,
    pub(crate) trace: Arc<TraceAttributes>,
    /// When it began, by this process's clock.
    pub(crate) start: Timestamp,
}

/// Describes an observation before it starts.
#[derive(Debug)]
#[must_use = "an observation is recorded once it is started and ended"]
pub struct ObservationBuilder {
    langfuse: Langfuse,
    name: String,
    pub(crate) kind: ObservationKind,
    parent: Option<Parent>,
    parent_is_remote: bool,
    pub(crate) start: Option<Timestamp>,
    pub(crate) attributes: Attributes,
    pub(crate) trace: Option<TraceAttributes>,
    /// Default: a new id, in the trace of the parent or in a new one.
    pub(crate) context: Option<SpanContext>,
}

impl ObservationBuilder {
    pub(crate) fn new(langfuse: Langfuse, name: String, parent: Option<Parent>) -> Self {
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

    /// The client that will record it.
    #[must_use]
    pub fn langfuse(&self) -> &Langfuse {
        &self.langfuse
    }

    /// Whether anybody will see what is said of it. That depends on its trace, so asking settles which one a root begins.
    pub(crate) fn is_recorded(&mut self) -> bool {
        let trace_id = match (&self.context, &self.parent) {
            _ if !self.langfuse.is_enabled() => return false,
            (Some(own), _) => own.trace_id,
            (None, Some(parent)) => parent.context.trace_id,
            (None, None) => {
                let trace_id = TraceId::from_random(host::random());
                self.context.insert(SpanContext { trace_id, observation_id: new_id() }).trace_id
            }
        };
        self.langfuse.recorder(trace_id).is_some()
    }

    /// What it stands for. Default: a span.
    pub fn kind(mut self, kind: ObservationKind) -> Self {
        self.kind = kind;
        self
    }

    /// Continues a trace that began in another process.
    pub fn parent(mut self, context: SpanContext) -> Self {
        self.set_parent(context);
        self
    }

    pub(crate) fn set_parent(&mut self, context: SpanContext) {
        let trace = self.parent.take().map(|parent| parent.trace).unwrap_or_default();
        self.context = None;
        self.parent = Some(Parent { context, trace, start: Timestamp::default() });
        self.parent_is_remote = true;
    }

    /// Continues the trace of a `traceparent` header (W3C Trace Context). Without one, or with one that cannot be read, it is
    /// as if this were not said.
    pub fn traceparent<'a>(self, header: impl Into<Option<&'a str>>) -> Self {
        match header.into().map(SpanContext::from_traceparent) {
            Some(Ok(context)) => self.parent(context),
            _ => self,
        }
    }

    /// The id of its trace, of which it is the root: one that another system knows, or one made by [`TraceId::from_seed`].
    pub fn trace_id(mut self, trace_id: TraceId) -> Self {
        if let Some(parent) = self.parent.take() {
            self.trace.get_or_insert_with(|| (*parent.trace).clone());
        }
        self.context = Some(SpanContext { trace_id, observation_id: new_id() });
        self
    }

    /// When it began, if not now.
    pub fn start_time(mut self, start: Timestamp) -> Self {
        self.start = Some(start);
        self
    }

    /// Takes over everything that `attributes` says.
    pub fn attributes(mut self, attributes: Attributes) -> Self {
        self.attributes.merge(attributes);
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

    /// Anything else about its trace, by name.
    pub fn trace_metadata(mut self, name: &str, value: &(impl Serialize + ?Sized)) -> Self {
        self.trace_attributes().metadata.set(name, to_text(value));
        self
    }

    /// Shows its trace to everybody who has its URL.
    pub fn public(mut self) -> Self {
        self.trace_attributes().fields.set(Field::Public, "true");
        self
    }

    /// Starts the observation.
    pub fn start(self) -> Observation {
        let is_local_root = self.parent.is_none() || self.parent_is_remote;
        let mut earliest_start = Timestamp::default();
        let (above, parent, inherited) = match self.parent {
            Some(Parent { context, trace, start }) => {
                earliest_start = start;
                (Some(context.trace_id), Some(context.observation_id), trace)
            }
            None => (None, None, Arc::default()),
        };
        let context = self.context.unwrap_or_else(|| SpanContext {
            trace_id: above.unwrap_or_else(|| TraceId::from_random(host::random())),
            observation_id: new_id(),
        });
        // A clock that was set back must not let a child begin before its parent.
        let now = host::now();
        let start = self.start.unwrap_or_else(|| now.max(earliest_start));
        let trace = self.trace.map_or(inherited, Arc::new);
        let mut place = None;
        if let Some(enabled) = self.langfuse.recorder(context.trace_id) {
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
        Observation(ObservationHandle { langfuse: self.langfuse, context, trace, start, place })
    }

    /// Starts it and ends it at once: for an event.
    pub fn record(self) {
        drop(self.start());
    }

    pub(crate) fn trace_attributes(&mut self) -> &mut TraceAttributes {
        let parent = self.parent.as_ref();
        self.trace.get_or_insert_with(|| parent.map(|parent| (*parent.trace).clone()).unwrap_or_default())
    }
}

fn new_id() -> ObservationId {
    ObservationId::from_random(host::random())
}

/// An observation that has started. It is recorded when it ends, complete, once; one that is dropped ends then,
/// and with level ERROR when that is because of a panic.
///
/// One that is open for more than an hour, or the oldest of more than 10,000 open ones, is ended with level WARNING and
/// a status message that says why.
///
/// What it can do, its [`ObservationHandle`] can, to which it dereferences.
#[derive(Debug)]
#[must_use = "an observation ends when it is dropped: bind it to a name, and not to `_`"]
pub struct Observation(ObservationHandle);

impl Deref for Observation {
    type Target = ObservationHandle;

    fn deref(&self) -> &ObservationHandle {
        &self.0
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        if host::is_panicking() {
            self.complain(Level::Error, "panicked");
        }
        self.end();
    }
}

/// An observation that has started, as everybody can have it who has something to say about it. Cheap to clone; it may
/// have ended, and does not end when a handle is dropped.
#[derive(Clone, Debug)]
pub struct ObservationHandle {
    pub(crate) langfuse: Langfuse,
    pub(crate) context: SpanContext,
    pub(crate) trace: Arc<TraceAttributes>,
    pub(crate) start: Timestamp,
    /// None when it is not recorded, or was when it started.
    pub(crate) place: Option<Place>,
}

impl ObservationHandle {
    /// The client that records it.
    #[must_use]
    pub fn langfuse(&self) -> &Langfuse {
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

    /// The `traceparent` header (W3C Trace Context) that makes another service continue below it.
    #[must_use]
    pub fn traceparent(&self) -> String {
        self.context.to_traceparent()
    }

    /// Begins to describe a child.
    pub fn observe(&self, name: impl Into<String>) -> ObservationBuilder {
        let trace = Context::current().trace_below(self);
        ObservationBuilder::new(self.langfuse.clone(), name.into(), Some(self.as_parent(trace)))
    }

    /// Runs `future` with this as the current observation, so that what it observes becomes a child.
    ///
    /// It does not end it.
    pub fn scope<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        let observation = self.clone();
        context::entering(|around| around.with_observation(observation), future)
    }

    /// Calls `work` with this as the current observation, so that what it observes becomes a child.
    ///
    /// It does not end it. For code that is not async: of an async function or block, it is [`scope`](Self::scope).
    pub fn in_scope<T>(&self, work: impl FnOnce() -> T) -> T {
        Context::current().with_observation(self.clone()).in_scope(work)
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

    /// Says this of its trace beside what it says already.
    pub(crate) fn say_of_trace(&self, own: &TraceAttributes) {
        self.change(|observation| observation.trace = Arc::new(observation.trace.merged(own)));
    }

    /// Whether it has not ended yet, and will be recorded when it does.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.kept().is_some_and(|(enabled, place)| enabled.open().get(place, self.context).is_some())
    }

    /// Whether anybody will see what is said of it, as long as it is open.
    pub(crate) fn is_recorded(&self) -> bool {
        self.place.is_some()
    }

    /// See [`Attributes::complain`].
    pub(crate) fn complain(&self, level: Level, why: &str) {
        self.change(|observation| observation.attributes.complain(level, why));
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut ObservationData)) {
        if let Some((enabled, place)) = self.kept()
            && let Some(observation) = enabled.open().get(place, self.context)
        {
            change(observation);
        }
    }

    /// Who keeps it while it is open, and where.
    fn kept(&self) -> Option<(&Enabled, Place)> {
        Some((self.langfuse.enabled()?, self.place?))
    }

    /// What children say of their trace, unless something is propagated to them.
    pub(crate) fn trace_below(&self) -> &Arc<TraceAttributes> {
        &self.trace
    }

    pub(crate) fn as_parent(&self, trace: Arc<TraceAttributes>) -> Parent {
        Parent { context: self.context, trace, start: self.start }
    }
}
