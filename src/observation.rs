//! What is recorded: observations, their attributes and what they share with their trace.

use std::sync::Arc;

use crate::error::Error;
use crate::id::{ObservationId, SpanContext};
use crate::time::Timestamp;

/// What an observation stands for; Langfuse shows each kind with its own icon and filters by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ObservationKind {
    /// A unit of work.
    #[default]
    Span,
    /// A call of a language model.
    Generation,
    /// A point in time.
    Event,
    /// A decision maker that calls tools.
    Agent,
    /// A tool call.
    Tool,
    /// A link between steps.
    Chain,
    /// A search for data.
    Retriever,
    /// A judgement of an output.
    Evaluator,
    /// A call of an embedding model.
    Embedding,
    /// A check that protects.
    Guardrail,
}

impl ObservationKind {
    const ALL: [(Self, &'static str); 10] = [
        (Self::Span, "span"),
        (Self::Generation, "generation"),
        (Self::Event, "event"),
        (Self::Agent, "agent"),
        (Self::Tool, "tool"),
        (Self::Chain, "chain"),
        (Self::Retriever, "retriever"),
        (Self::Evaluator, "evaluator"),
        (Self::Embedding, "embedding"),
        (Self::Guardrail, "guardrail"),
    ];

    /// The name Langfuse knows, in lower case: in another case it would be ignored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// Reads a kind's name.
    ///
    /// # Errors
    /// [`Error::is_configuration`] when there is no such kind.
    pub fn parse(name: &str) -> Result<Self, Error> {
        let known = Self::ALL.iter().find(|(_, known)| *known == name);
        known.map(|(kind, _)| *kind).ok_or_else(|| {
            Error::configuration(
                "asType must be one of span, generation, event, agent, tool, chain, retriever, evaluator, embedding, guardrail",
            )
        })
    }
}

/// How serious an observation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Of interest to developers only.
    Debug,
    /// The ordinary case.
    #[default]
    Default,
    /// Something to look at.
    Warning,
    /// A failure.
    Error,
}

impl Level {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Debug, "DEBUG"),
        (Self::Default, "DEFAULT"),
        (Self::Warning, "WARNING"),
        (Self::Error, "ERROR"),
    ];

    /// The name Langfuse knows.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// Reads a level's name.
    ///
    /// # Errors
    /// [`Error::is_configuration`] when there is no such level.
    pub fn parse(name: &str) -> Result<Self, Error> {
        let known = Self::ALL.iter().find(|(_, known)| *known == name);
        known
            .map(|(level, _)| *level)
            .ok_or_else(|| Error::configuration("level must be one of DEBUG, DEFAULT, WARNING, ERROR"))
    }
}

/// A value as text, made by the caller's side: a string as it is, anything else as JSON.
///
/// The core never looks inside. Only whole UTF-8 text gets in, and [`Text::cut`] keeps it whole.
#[derive(Clone, PartialEq, Eq)]
pub struct Text(Vec<u8>);

impl Text {
    /// Text from bytes, when they are UTF-8.
    #[must_use]
    pub fn from_utf8(bytes: Vec<u8>) -> Option<Self> {
        std::str::from_utf8(&bytes).is_ok().then_some(Self(bytes))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Cuts the text to `limit` bytes at a character boundary and says how much is gone.
    pub(crate) fn cut(&mut self, limit: usize) {
        if self.0.len() <= limit {
            return;
        }
        let is_boundary = |at: &usize| self.0[*at] & 0xc0 != 0x80;
        let end = (0..=limit).rev().find(is_boundary).unwrap_or(0);
        let removed = self.0.len() - end;
        self.0.truncate(end);
        self.0.extend_from_slice("…[truncated ".as_bytes());
        self.0.extend_from_slice(removed.to_string().as_bytes());
        self.0.extend_from_slice(b" bytes]");
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Text({} bytes)", self.0.len())
    }
}

/// Named values, each as [`Text`]; setting a name again replaces its value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata(Vec<(String, Text)>);

impl Metadata {
    /// Sets a value. Names that Langfuse writes itself, and those it drops because they would change the
    /// prototype of an object, get a trailing underscore, so that the value is not lost.
    pub fn set(&mut self, name: &str, value: Text) {
        const TAKEN: [&str; 7] =
            ["", "attributes", "resourceAttributes", "scope", "__proto__", "constructor", "prototype"];
        let mut safe = String::with_capacity(name.len() + 1);
        for (index, segment) in name.split('.').enumerate() {
            if index > 0 {
                safe.push('.');
            }
            safe.push_str(segment);
            if TAKEN.contains(&segment) {
                safe.push('_');
            }
        }
        match self.0.iter_mut().find(|(known, _)| *known == safe) {
            Some((_, known)) => *known = value,
            None => self.0.push((safe, value)),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Text)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Text> {
        self.0.iter_mut().map(|(_, value)| value)
    }
}

/// A prompt version managed in Langfuse, linked to a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// The prompt's name.
    pub name: String,
    /// The prompt's version.
    pub version: u16,
}

/// What an observation says. Everything is optional.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attributes {
    /// What went in.
    pub input: Option<Text>,
    /// What came out.
    pub output: Option<Text>,
    /// Anything else.
    pub metadata: Metadata,
    /// How serious it is.
    pub level: Option<Level>,
    /// A sentence to go with the level.
    pub status_message: Option<String>,
    /// The version of the code.
    pub version: Option<String>,
    /// The environment, when it is not the client's.
    pub environment: Option<String>,
    /// The model's name.
    pub model: Option<String>,
    /// JSON text of an object.
    pub model_parameters: Option<Text>,
    /// JSON text of an object of token counts.
    pub usage_details: Option<Text>,
    /// JSON text of an object of costs in US dollars.
    pub cost_details: Option<Text>,
    /// When the first token came.
    pub completion_start: Option<Timestamp>,
    /// The prompt the call was made with.
    pub prompt: Option<Prompt>,
}

impl Attributes {
    /// Takes over what `newer` says; metadata is merged by name.
    pub fn merge(&mut self, newer: Self) {
        fn take<T>(old: &mut Option<T>, new: Option<T>) {
            if new.is_some() {
                *old = new;
            }
        }
        take(&mut self.input, newer.input);
        take(&mut self.output, newer.output);
        for (name, value) in newer.metadata.0 {
            self.metadata.set(&name, value);
        }
        take(&mut self.level, newer.level);
        take(&mut self.status_message, newer.status_message);
        take(&mut self.version, newer.version);
        take(&mut self.environment, newer.environment);
        take(&mut self.model, newer.model);
        take(&mut self.model_parameters, newer.model_parameters);
        take(&mut self.usage_details, newer.usage_details);
        take(&mut self.cost_details, newer.cost_details);
        take(&mut self.completion_start, newer.completion_start);
        take(&mut self.prompt, newer.prompt);
    }

    /// Cuts the fields that can be large; ids, model, usage and cost stay whole.
    pub(crate) fn cut_fields(&mut self, limit: usize) {
        let payload = [self.input.as_mut(), self.output.as_mut()];
        for text in payload.into_iter().flatten().chain(self.metadata.iter_mut()) {
            text.cut(limit);
        }
    }
}

/// What all observations of a trace say. Langfuse keeps no record of a trace: it gathers these from the
/// observations, so each of them carries all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceAttributes {
    /// The trace's name.
    pub name: Option<String>,
    /// The user the trace belongs to.
    pub user_id: Option<String>,
    /// The session the trace belongs to.
    pub session_id: Option<String>,
    /// The trace's tags.
    pub tags: Vec<String>,
    /// Anything else.
    pub metadata: Metadata,
}

/// An observation while it is open: what the clients keep until it ends and is encoded.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "the drivers build it field by field, and must miss none")]
pub struct ObservationData {
    /// Its place in the trace.
    pub context: SpanContext,
    /// The observation it is part of.
    pub parent: Option<ObservationId>,
    /// No observation of this process is above this one.
    pub is_local_root: bool,
    /// What it stands for.
    pub kind: ObservationKind,
    /// Its name.
    pub name: String,
    /// When it began.
    pub start: Timestamp,
    /// What it says.
    pub attributes: Attributes,
    /// What its trace says.
    pub trace: Arc<TraceAttributes>,
}
