//! What `tracing` sees, as observations.

mod fields;

use std::cell::RefCell;
use std::sync::{OnceLock, PoisonError, RwLock};

use tracing_core::{Event, LevelFilter, Metadata, Subscriber, span};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use super::driver::is_sending_thread;
use crate::client::{Langfuse, Observation, ObservationBuilder};
use crate::context::{self, Current};
use crate::observability;
use crate::observation::{Field, Level, ObservationKind};
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

    fn langfuse(&self) -> &Langfuse {
        self.langfuse.get_or_init(observability::langfuse)
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
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, ctx: Context<'_, S>) {
        let metadata = attributes.metadata();
        let Some(span) = ctx.span(id).filter(|_| self.records(metadata) && !is_by_ourselves(metadata)) else {
            return;
        };
        let parent = if attributes.is_contextual() {
            context::current()
        } else {
            span.parent().and_then(|parent| current(&parent))
        };
        let mut fields = Fields::of(parent.as_ref());
        attributes.record(&mut fields);
        let name = fields.name.take().unwrap_or_else(|| metadata.name().to_owned());
        let mut builder = ObservationBuilder::new(self.langfuse().clone(), name, parent).kind(fields.kind());
        let level = level(metadata);
        if level != Level::Default {
            builder.attributes.fields.set(Field::Level, level.as_str());
        }
        builder = builder.attributes(fields.take_attributes());
        builder.trace = fields.take_trace();
        let observation = builder.start();
        span.extensions_mut().replace(Spanned { observation, fields: RwLock::new(fields) });
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        let extensions = span.extensions();
        let Some(Spanned { observation, fields }) = extensions.get() else { return };
        let mut fields = fields.write().unwrap_or_else(PoisonError::into_inner);
        values.record(&mut *fields);
        observation.update_as(Some(fields.kind()), fields.take_attributes());
        if let Some(trace) = fields.take_trace() {
            observation.trace(trace);
        }
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let metadata = event.metadata();
        if metadata.level() > &self.events || is_by_ourselves(metadata) {
            return;
        }
        let span = ctx.event_span(event);
        let parent = if event.is_contextual() { context::current() } else { span.as_ref().and_then(current) };
        let Some(parent) = parent else { return };
        let mut fields = Fields::default();
        event.record(&mut fields);
        let target = fields.target.take().unwrap_or_else(|| metadata.target().to_owned());
        if is_our_target(&target) {
            return;
        }
        let message = fields.message.take().unwrap_or_else(|| metadata.name().to_owned());
        let level = level(metadata);
        let mut builder =
            ObservationBuilder::new(self.langfuse().clone(), title(&message).to_owned(), Some(parent));
        if level != Level::Default {
            builder.attributes.fields.set(Field::Level, level.as_str());
        }
        if matches!(level, Level::Warning | Level::Error) || title(&message) != message {
            builder.attributes.fields.set(Field::StatusMessage, message.as_str());
        }
        builder.attributes.metadata.set("target", target.into());
        drop(builder.kind(ObservationKind::Event).attributes(fields.take_attributes()).start());
        if level == Level::Error
            && let Some(span) = span
            && let Some(Spanned { observation, .. }) = span.extensions().get()
        {
            let why = fields.error.take().unwrap_or(message);
            observation.error(&why);
        }
    }

    fn on_enter(&self, id: &span::Id, ctx: Context<'_, S>) {
        if let Some(current) = ctx.span(id).as_ref().and_then(current) {
            ENTERED.with_borrow_mut(|entered| {
                entered.push(Entered { id: id.clone(), before: context::replace(Some(current)) });
            });
        }
    }

    fn on_exit(&self, id: &span::Id, _: Context<'_, S>) {
        ENTERED.with_borrow_mut(|entered| leave(entered, id));
    }

    fn on_close(&self, id: span::Id, ctx: Context<'_, S>) {
        let spanned = ctx.span(&id).and_then(|span| span.extensions_mut().remove::<Spanned>());
        // Not under the lock of the extensions: it may say that records are dropped, which is an event.
        drop(spanned);
    }
}

/// A span that this thread is in.
struct Entered {
    id: span::Id,
    /// What was current before.
    before: Option<Current>,
}

thread_local! {
    static ENTERED: RefCell<Vec<Entered>> = const { RefCell::new(Vec::new()) };
}

/// Spans may be left in another order than the one they were entered in.
fn leave(entered: &mut Vec<Entered>, id: &span::Id) {
    let Some(index) = entered.iter().rposition(|entered| entered.id == *id) else { return };
    let Entered { before, .. } = entered.remove(index);
    match entered.get_mut(index) {
        Some(above) => above.before = before,
        None => drop(context::replace(before)),
    }
}

/// What children of the span take from it, or from the nearest span above it that is recorded.
fn current<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>) -> Option<Current> {
    span.scope().find_map(|span| {
        span.extensions().get::<Spanned>().map(|Spanned { observation, .. }| observation.current())
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
