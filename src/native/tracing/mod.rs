//! What `tracing` sees, as observations.

mod fields;

use std::cell::{Cell, RefCell};
use std::sync::{OnceLock, RwLock};

use tracing_core::{Event, LevelFilter, Metadata, Subscriber, span};
use tracing_subscriber::Layer;
use tracing_subscriber::layer;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use super::driver::is_sending_thread;
use crate::client::Langfuse;
use crate::context::Context;
use crate::lock::unpoisoned;
use crate::observation::{Field, Level, ObservationKind};
use crate::process_wide;
use crate::recording::{Observation, ObservationBuilder, ObservationHandle};
use fields::Fields;

/// A layer for `tracing-subscriber` that records spans as observations, and events within them as events.
///
/// - A **span** is recorded when it is declared with a field whose name begins with `gen_ai.` or `langfuse.`, or when
///   [all spans](Self::all_spans) are. It is a child of the observation that is current where it is created, or of the
///   parent it is given, and it is the current observation wherever it is entered, also across `.instrument`ed
///   futures. It ends when it is closed.
/// - **Fields** in the names of OpenTelemetry's conventions for generative AI, and in those Langfuse reads
///   (`langfuse.observation.input`, `langfuse.user.id`, …), arrive as what they mean, others as metadata. Declare those that
///   are known later as [`Empty`](tracing_core::field::Empty), and record them then.
/// - An **event** within an observation becomes a child of it, from [level](Self::events) INFO on. One of level ERROR makes
///   the span it is in an error, as does `#[instrument(err)]`. What is logged with `log` arrives as well, where
///   `tracing-subscriber` collects it (its feature `tracing-log`).
///
/// Nothing that this crate or its HTTP client says for itself is recorded. To leave out more, give the layer
/// [a filter](tracing_subscriber::Layer::with_filter).
///
/// ```
/// use langfuse_edge::LangfuseLayer;
/// use tracing_subscriber::prelude::*;
///
/// # fn main() -> Result<(), langfuse_edge::Error> {
/// let _guard = langfuse_edge::init()?; // flushes at the end of main
/// tracing_subscriber::registry().with(LangfuseLayer::new()).init();
///
/// let chat = tracing::info_span!(
///     "chat",
///     gen_ai.request.model = "gpt-4o",
///     langfuse.observation.input = "Why is the sky blue?",
///     langfuse.observation.output = tracing::field::Empty,
///     gen_ai.usage.input_tokens = tracing::field::Empty,
/// );
/// chat.in_scope(|| tracing::info!(attempt = 1, "asking"));
/// chat.record("langfuse.observation.output", "Rayleigh scattering");
/// chat.record("gen_ai.usage.input_tokens", 12);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LangfuseLayer {
    langfuse: OnceLock<Langfuse>,
    all_spans: bool,
    events: LevelFilter,
}

impl LangfuseLayer {
    /// A layer that records with the process-wide client, as that is when the first span comes.
    #[must_use]
    pub fn new() -> Self {
        Self { langfuse: OnceLock::new(), all_spans: false, events: LevelFilter::INFO }
    }

    /// Records with this client. The subscriber keeps it alive, most often until the process ends: flush it before.
    #[must_use]
    pub fn client(mut self, langfuse: Langfuse) -> Self {
        self.langfuse = langfuse.into();
        self
    }

    /// Whether spans are recorded whatever their fields are. Default: `false`.
    #[must_use]
    pub fn all_spans(mut self, all: bool) -> Self {
        self.all_spans = all;
        self
    }

    /// The level from which on events are recorded; `LevelFilter::OFF` for none. Default: INFO.
    #[must_use]
    pub fn events(mut self, level: impl Into<LevelFilter>) -> Self {
        self.events = level.into();
        self
    }

    /// None within the making of the process-wide client, which may say something.
    fn langfuse(&self) -> Option<&Langfuse> {
        thread_local! {
            static IS_BEING_MADE: Cell<bool> = const { Cell::new(false) };
        }
        if self.langfuse.get().is_none() {
            if IS_BEING_MADE.replace(true) {
                return None;
            }
            let langfuse = process_wide::langfuse();
            IS_BEING_MADE.set(false);
            // Another thread may have been faster, with the same client.
            drop(self.langfuse.set(langfuse));
        }
        self.langfuse.get()
    }

    fn records(&self, metadata: &Metadata<'_>) -> bool {
        self.all_spans || metadata.fields().iter().any(|field| fields::is_ours(field.name()))
    }
}

impl Default for LangfuseLayer {
    fn default() -> Self {
        Self::new()
    }
}

/// The observation of a span, among the span's extensions.
struct Spanned {
    observation: Observation,
    fields: RwLock<Fields>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LangfuseLayer {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, ctx: layer::Context<'_, S>) {
        let metadata = attributes.metadata();
        let Some(span) = ctx.span(id).filter(|_| self.records(metadata) && !is_by_ourselves(metadata)) else {
            return;
        };
        let Some(langfuse) = self.langfuse() else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let name = fields.name.take().unwrap_or_else(|| metadata.name().to_owned());
        let mut builder = if attributes.is_contextual() {
            langfuse.observe(name)
        } else {
            match span.parent().and_then(|parent| observation(&parent)) {
                Some(parent) => parent.observe(name),
                None => ObservationBuilder::new(langfuse.clone(), name, None),
            }
        };
        let level = level(metadata);
        if level != Level::Default {
            builder.attributes.fields.set(Field::Level, level.as_str());
        }
        if let Some(own) = fields.take_trace() {
            let trace = builder.trace_attributes();
            *trace = trace.merged(&own);
        }
        let builder = builder.kind(fields.kind()).attributes(fields.take_attributes());
        let observation = builder.start();
        span.extensions_mut().replace(Spanned { observation, fields: RwLock::new(fields) });
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, ctx: layer::Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        let extensions = span.extensions();
        let Some(Spanned { observation, fields }) = extensions.get() else { return };
        let mut fields = unpoisoned(fields.write());
        values.record(&mut *fields);
        observation.update_as(Some(fields.kind()), fields.take_attributes());
        if let Some(own) = fields.take_trace() {
            observation.say_of_trace(&own);
        }
    }

    fn on_event(&self, event: &Event<'_>, ctx: layer::Context<'_, S>) {
        let metadata = event.metadata();
        if metadata.level() > &self.events || is_by_ourselves(metadata) {
            return;
        }
        let span = ctx.event_span(event);
        let parent = if event.is_contextual() {
            let context = Context::current();
            let is_within = context.observation().is_some();
            self.langfuse().filter(|_| is_within).and_then(|langfuse| context.observation_of(langfuse))
        } else {
            span.as_ref().and_then(observation)
        };
        let Some(parent) = parent else { return };
        let mut fields = Fields::default();
        event.record(&mut fields);
        let target = fields.target.take().unwrap_or_else(|| metadata.target().to_owned());
        if is_our_target(&target) {
            return;
        }
        let message = fields.message.take().unwrap_or_else(|| metadata.name().to_owned());
        let level = level(metadata);
        let mut builder = parent.observe(title(&message));
        if level != Level::Default {
            builder.attributes.fields.set(Field::Level, level.as_str());
        }
        if matches!(level, Level::Warning | Level::Error) || title(&message) != message {
            builder.attributes.fields.set(Field::StatusMessage, message.as_str());
        }
        builder.attributes.metadata.set("target", target.into());
        builder.kind(ObservationKind::Event).attributes(fields.take_attributes()).record();
        if level == Level::Error
            && let Some(span) = span
            && let Some(Spanned { observation, .. }) = span.extensions().get()
        {
            let why = fields.error.take().unwrap_or(message);
            observation.error(&why);
        }
    }

    fn on_enter(&self, id: &span::Id, ctx: layer::Context<'_, S>) {
        if let Some(observation) = ctx.span(id).as_ref().and_then(observation) {
            let before = Context::current().with_observation(observation).replace();
            let entered = Entered { id: id.clone(), before };
            // When the thread ends nothing is entered any more.
            let _ = ENTERED.try_with(|all| all.borrow_mut().push(entered));
        }
    }

    fn on_exit(&self, id: &span::Id, _: layer::Context<'_, S>) {
        let before = ENTERED.try_with(|entered| leave(&mut entered.borrow_mut(), id));
        // What was current ends outside of the borrow: it may be the last clone of a client.
        drop(before.ok().flatten().map(Context::replace));
    }

    fn on_close(&self, id: span::Id, ctx: layer::Context<'_, S>) {
        let spanned = ctx.span(&id).and_then(|span| span.extensions_mut().remove::<Spanned>());
        // Not under the lock of the extensions: it may say that records are dropped, which is an event.
        drop(spanned);
    }
}

/// A span that this thread is in.
struct Entered {
    id: span::Id,
    /// What was current before.
    before: Context,
}

thread_local! {
    static ENTERED: RefCell<Vec<Entered>> = const { RefCell::new(Vec::new()) };
}

/// Gives what is current from now on, if that changes: spans may be left in another order than the one they were entered in.
fn leave(entered: &mut Vec<Entered>, id: &span::Id) -> Option<Context> {
    let index = entered.iter().rposition(|entered| entered.id == *id)?;
    let Entered { before, .. } = entered.remove(index);
    match entered.get_mut(index) {
        Some(above) => {
            above.before = before;
            None
        }
        None => Some(before),
    }
}

/// The observation of the span, or of the nearest span above it that is recorded.
fn observation<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>) -> Option<ObservationHandle> {
    span.scope().find_map(|span| {
        span.extensions()
            .get::<Spanned>()
            .map(|Spanned { observation, .. }| ObservationHandle::clone(observation))
    })
}

/// Whether it comes from this crate, or from what works for it: that would be recorded, sent, and recorded.
fn is_by_ourselves(metadata: &Metadata<'_>) -> bool {
    is_our_target(metadata.target()) || is_sending_thread()
}

fn is_our_target(target: &str) -> bool {
    target.strip_prefix("langfuse_edge").is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn level(metadata: &Metadata<'_>) -> Level {
    match *metadata.level() {
        tracing_core::Level::ERROR => Level::Error,
        tracing_core::Level::WARN => Level::Warning,
        tracing_core::Level::INFO => Level::Default,
        _ => Level::Debug,
    }
}

/// The beginning of a message, for a name.
fn title(message: &str) -> &str {
    const LONGEST: usize = 120;
    let line = message.lines().next().unwrap_or_default();
    &line[..line.floor_char_boundary(LONGEST)]
}
