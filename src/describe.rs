//! What can be said of an observation, alike before it starts and while it is open.

use std::fmt::Display;

use serde::Serialize;

use crate::client::Langfuse;
use crate::observation::{Attributes, Field, Level, ObservationKind, Text};
use crate::plain::Plain;
use crate::platform::host;
use crate::recording::{ObservationBuilder, ObservationHandle};
use crate::time::Timestamp;

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

/// Methods of the builder, which take it over, and of the observation, which change it while it is open. What is
/// serialized is so only where it is recorded, and not under a lock.
macro_rules! sayings {
    ($(
        $(#[$doc:meta])*
        fn $name:ident($($argument:ident: $type:ty),*) = $($field:ident: $text:expr),+;
    )*) => {
        impl ObservationBuilder {
            $(
                $(#[$doc])*
                pub fn $name(mut self, $($argument: $type),*) -> Self {
                    if self.is_recorded() {
                        $(set(&mut self.attributes, Field::$field, $text);)+
                    }
                    self
                }
            )*

            /// Anything else, by name; a name said again replaces its value.
            pub fn metadata(mut self, name: &str, value: &(impl Serialize + ?Sized)) -> Self {
                if self.is_recorded() {
                    self.attributes.metadata.set(name, to_text(value));
                }
                self
            }
        }

        /// What is said of it after its end is lost.
        impl ObservationHandle {
            $(
                $(#[$doc])*
                pub fn $name(&self, $($argument: $type),*) -> &Self {
                    if self.is_recorded() {
                        let said = [$((Field::$field, Said::from($text))),+];
                        self.change(|observation| {
                            said.into_iter().for_each(|(field, said)| set(&mut observation.attributes, field, said));
                        });
                    }
                    self
                }
            )*

            /// Anything else, by name; a name said again replaces its value.
            pub fn metadata(&self, name: &str, value: &(impl Serialize + ?Sized)) -> &Self {
                if self.is_recorded() {
                    let text = to_text(value);
                    self.change(|observation| observation.attributes.metadata.set(name, text));
                }
                self
            }
        }
    };
}

sayings! {
    /// What went in: a string as it is, anything else as JSON.
    fn input(input: &(impl Serialize + ?Sized)) = Input: to_text(input);

    /// What came out: a string as it is, anything else as JSON.
    fn output(output: &(impl Serialize + ?Sized)) = Output: to_text(output);

    /// How serious it is. Default: [`Level::Default`].
    fn level(level: Level) = Level: level.as_str();

    /// A sentence to go with the level.
    fn status_message(message: impl Into<String>) = StatusMessage: message.into();

    /// Level ERROR, with the error as the status message.
    fn error(error: &(impl Display + ?Sized)) = Level: Level::Error.as_str(), StatusMessage: error.to_string();

    /// The version of the code.
    fn version(version: impl Into<String>) = Version: version.into();

    /// The environment, such as `staging`, when it is not the client's.
    fn environment(environment: impl Into<String>) = Environment: environment.into();

    /// The model's name, such as `gpt-4o`.
    fn model(model: impl Into<String>) = Model: model.into();

    /// The model's parameters, such as its temperature: what serializes to an object; anything else is left out.
    fn model_parameters(parameters: &(impl Serialize + ?Sized)) = ModelParameters: object(parameters);

    /// Token counts.
    fn usage(usage: Usage) = UsageDetails: object(&usage);

    /// Token counts of more kinds: what serializes to an object of whole numbers, such as
    /// `{"input": 512, "input_cached": 128, "output": 64}`, each token counted under one name; anything else is left out.
    fn usage_details(details: &(impl Serialize + ?Sized)) = UsageDetails: object(details);

    /// Costs in US dollars, by the names of the usage, when Langfuse is not to reckon them: what serializes to an object of
    /// numbers; anything else is left out.
    fn cost_details(details: &(impl Serialize + ?Sized)) = CostDetails: object(details);

    /// When the model's first token came.
    fn completion_start_time(time: Timestamp) = CompletionStart: host::iso8601(time);

    /// The Langfuse prompt it was made with, by its name and version.
    fn prompt(name: impl Into<String>, version: u16) = PromptName: name.into(), PromptVersion: version.to_string();
}

/// Methods that begin to describe an observation of a kind.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident: $kind:ident,)*) => {
        impl Langfuse {
            $(
                $(#[$doc])*
                pub fn $name(&self, name: impl Into<String>) -> ObservationBuilder {
                    self.observe(name).kind(ObservationKind::$kind)
                }
            )*
        }

        /// Children of each kind.
        impl ObservationHandle {
            $(
                $(#[$doc])*
                pub fn $name(&self, name: impl Into<String>) -> ObservationBuilder {
                    self.observe(name).kind(ObservationKind::$kind)
                }
            )*
        }
    };
}

kinds! {
    /// Begins to describe a unit of work, as `observe` does.
    span: Span,
    /// Begins to describe a call of a language model.
    generation: Generation,
    /// Begins to describe a point in time, which ends as it starts: [`record`](ObservationBuilder::record) it.
    event: Event,
    /// Begins to describe a decision maker that calls tools.
    agent: Agent,
    /// Begins to describe a tool call.
    tool: Tool,
    /// Begins to describe a link between steps.
    chain: Chain,
    /// Begins to describe a search for data.
    retriever: Retriever,
    /// Begins to describe a judgement of an output.
    evaluator: Evaluator,
    /// Begins to describe a call of an embedding model.
    embedding: Embedding,
    /// Begins to describe a check that protects.
    guardrail: Guardrail,
}

/// A string as it is, anything else as JSON. What cannot be serialized is replaced by a note: recording never fails.
pub(crate) fn to_text(value: &(impl Serialize + ?Sized)) -> Text {
    if let Ok(text) = value.serialize(Plain) {
        return text.into();
    }
    serde_json::to_string(value).map_or_else(|_| Text::from("[not serializable]"), Text::from)
}

/// JSON text, when it is an object: Langfuse takes nothing else here.
fn object(value: &(impl Serialize + ?Sized)) -> Option<String> {
    serde_json::to_string(value).ok().filter(|json| json.starts_with('{'))
}

/// A text, or nothing that could be said.
struct Said(Option<Text>);

impl From<Text> for Said {
    fn from(text: Text) -> Self {
        Self(Some(text))
    }
}

impl From<String> for Said {
    fn from(text: String) -> Self {
        Self(Some(text.into()))
    }
}

impl From<&str> for Said {
    fn from(text: &str) -> Self {
        Self(Some(text.into()))
    }
}

impl From<Option<String>> for Said {
    fn from(text: Option<String>) -> Self {
        Self(text.map(Text::from))
    }
}

fn set(attributes: &mut Attributes, field: Field, said: impl Into<Said>) {
    if let Said(Some(text)) = said.into() {
        attributes.fields.set(field, text);
    }
}
