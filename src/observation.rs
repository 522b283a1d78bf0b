//! What is recorded: observations, their attributes and what they share with their trace.

use std::borrow::Cow;
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

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }

    /// Reads a kind's name.
    ///
    /// # Errors
    /// [`Error::is_configuration`] when there is no such kind.
    pub fn parse(name: &str) -> Result<Self, Error> {
        Self::named(name).ok_or_else(|| {
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
/// The core never looks inside.
#[derive(Clone, PartialEq, Eq)]
pub struct Text(String);

impl Text {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The text, when it is longer than `limit` bytes cut there at a character boundary and saying how much is gone.
    pub(crate) fn cut(&self, limit: usize) -> Cow<'_, str> {
        if self.0.len() <= limit {
            return Cow::Borrowed(&self.0);
        }
        let kept = beginning(&self.0, limit);
        let removed = self.0.len() - kept.len();
        Cow::Owned([kept, "…[truncated ", &removed.to_string(), " bytes]"].concat())
    }
}

/// At most `limit` bytes of a text, in whole characters. By `get`, because slicing can panic, and the words of that
/// panic are a twentieth of the wasm module.
pub(crate) fn beginning(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or_default()
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Text({} bytes)", self.0.len())
    }
}

/// The metadata name of the note that input and output were removed.
pub(crate) const REMOVED_PAYLOAD: &str = "langfuse_edge_truncated";

/// Named values, each as [`Text`]; setting a name again replaces its value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata(Vec<(String, Text)>);

impl Metadata {
    /// Sets a value. Names that Langfuse or this crate writes itself, and those Langfuse drops because they would
    /// change the prototype of an object, get a trailing underscore, so that the value is not lost.
    pub fn set(&mut self, name: &str, value: Text) {
        const TAKEN: [&str; 8] = [
            "",
            "attributes",
            "resourceAttributes",
            "scope",
            "__proto__",
            "constructor",
            "prototype",
            REMOVED_PAYLOAD,
        ];
        let mut safe = String::with_capacity(name.len() + 1);
        let mut begin = 0;
        // Byte by byte, because `split` brings a search of words at a time with it.
        for (end, byte) in name.bytes().chain([b'.']).enumerate() {
            if byte == b'.' {
                let segment = name.get(begin..end).unwrap_or_default();
                if begin > 0 {
                    safe += ".";
                }
                safe += segment;
                if TAKEN.contains(&segment) {
                    safe += "_";
                }
                begin = end + 1;
            }
        }
        self.put(safe, value);
    }

    fn put(&mut self, name: String, value: Text) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name, value)),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Text)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

/// What an observation or its trace can say, beside metadata and tags. Everything travels as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Field {
    /// What went in.
    Input,
    /// What came out.
    Output,
    /// A [`Level`]'s name.
    Level,
    /// A sentence to go with the level.
    StatusMessage,
    /// The version of the code.
    Version,
    /// The environment, when it is not the client's.
    Environment,
    /// The model's name.
    Model,
    /// JSON text of an object.
    ModelParameters,
    /// JSON text of an object of token counts.
    UsageDetails,
    /// JSON text of an object of costs in US dollars.
    CostDetails,
    /// When the first token came, ISO 8601.
    CompletionStart,
    /// The name of the Langfuse prompt a generation was made with.
    PromptName,
    /// The version of that prompt, 0 to 65535.
    PromptVersion,
    /// The trace's name.
    TraceName,
    /// The user the trace belongs to.
    UserId,
    /// The session the trace belongs to.
    SessionId,
    /// The release of the program, when it is not the client's.
    Release,
    /// `true` shows the trace to everybody who has its URL.
    Public,
}

/// Texts by [`Field`]; setting one again replaces it.
#[derive(Clone, Debug, Default, Eq)]
pub struct Fields(Vec<(Field, Text)>);

/// In whatever order they were set.
impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.iter().all(|(field, text)| other.get(field) == Some(text))
    }
}

impl Fields {
    /// Sets a field.
    pub fn set(&mut self, field: Field, text: impl Into<Text>) {
        self.put(field, text.into());
    }

    fn put(&mut self, field: Field, text: Text) {
        match self.0.iter_mut().find(|(known, _)| *known == field) {
            Some((_, known)) => *known = text,
            None => self.0.push((field, text)),
        }
    }

    pub(crate) fn get(&self, field: Field) -> Option<&Text> {
        self.0.iter().find(|(known, _)| *known == field).map(|(_, text)| text)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Field, &Text)> {
        self.0.iter().map(|(field, text)| (*field, text))
    }
}

/// What an observation says. Everything is optional.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attributes {
    /// Its fields.
    pub fields: Fields,
    /// Anything else.
    pub metadata: Metadata,
}

impl Attributes {
    /// Takes over what `newer` says; metadata is merged by name.
    pub fn merge(&mut self, newer: Self) {
        for (field, text) in newer.fields.0 {
            self.fields.put(field, text);
        }
        for (name, value) in newer.metadata.0 {
            self.metadata.put(name, value);
        }
    }

    /// Says what went wrong with it, and takes nothing away: ERROR stays, and a status message stays before `why`.
    pub(crate) fn complain(&mut self, level: Level, why: &str) {
        let fields = &mut self.fields;
        if fields.get(Field::Level).is_none_or(|known| known.as_str() != Level::Error.as_str()) {
            fields.set(Field::Level, level.as_str());
        }
        let message = match fields.get(Field::StatusMessage) {
            Some(message) => [message.as_str(), " (", why, ")"].concat(),
            None => why.to_owned(),
        };
        fields.set(Field::StatusMessage, message);
    }
}

/// What all observations of a trace say. Langfuse keeps no record of a trace: it gathers these from the
/// observations, so each of them carries all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceAttributes {
    /// Its fields.
    pub fields: Fields,
    /// The trace's tags.
    pub tags: Vec<String>,
    /// Anything else.
    pub metadata: Metadata,
}

impl TraceAttributes {
    /// What `own` says, and what this says beside it: of tags and metadata both.
    pub(crate) fn merged(&self, own: &Self) -> Self {
        let mut merged = self.clone();
        for (field, text) in own.fields.iter() {
            merged.fields.set(field, text.clone());
        }
        for tag in &own.tags {
            if !merged.tags.contains(tag) {
                merged.tags.push(tag.clone());
            }
        }
        for (name, value) in own.metadata.iter() {
            merged.metadata.put(name.to_owned(), value.clone());
        }
        merged
    }
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
