//! What the fields of spans and events mean.

use std::error::Error;
use std::fmt::Debug;

use serde_json::{Map, Value};
use tracing_core::field::{self, Visit};

use crate::observation::{Attributes, Field, Level, ObservationKind, TraceAttributes};

/// Whether a span that is declared with this field is recorded.
pub(super) fn is_ours(name: &str) -> bool {
    name.starts_with("gen_ai.") || name.starts_with("langfuse.")
}

/// What a span or an event says.
#[derive(Default)]
pub(super) struct Fields {
    /// What has come since it was taken.
    attributes: Attributes,
    /// What has come about its trace since it was taken.
    trace: Option<TraceAttributes>,
    said: Option<ObservationKind>,
    is_generation: bool,
    parameters: Map<String, Value>,
    usage: Map<String, Value>,
    pub(super) name: Option<String>,
    pub(super) message: Option<String>,
    pub(super) error: Option<String>,
    /// Of a record that was logged: an event from there has a target of its own.
    pub(super) target: Option<String>,
}

impl Fields {
    /// What it stands for: what it says, or what its fields are about.
    pub(super) fn kind(&self) -> ObservationKind {
        let guess = if self.is_generation { ObservationKind::Generation } else { ObservationKind::Span };
        self.said.unwrap_or(guess)
    }

    pub(super) fn take_attributes(&mut self) -> Attributes {
        if let Some(message) = self.message.take() {
            // Of a span: an event has it for a name.
            self.attributes.metadata.set("message", message.into());
        }
        std::mem::take(&mut self.attributes)
    }

    pub(super) fn take_trace(&mut self) -> Option<TraceAttributes> {
        self.trace.take()
    }

    fn trace(&mut self) -> &mut TraceAttributes {
        self.trace.get_or_insert_default()
    }

    fn set(&mut self, name: &str, value: Value) {
        if let Some(field) = field(name) {
            self.is_generation |= field == Field::Model && name.starts_with("gen_ai.");
            self.attributes.fields.set(field, text(value));
        } else if let Some(field) = trace_field(name) {
            self.trace().fields.set(field, text(value));
        } else if let Some(name) = name.strip_prefix("langfuse.observation.metadata.") {
            self.attributes.metadata.set(name, text(value).into());
        } else if let Some(name) = name.strip_prefix("langfuse.trace.metadata.") {
            self.trace().metadata.set(name, text(value).into());
        } else if let (Some(name), true) = (name.strip_prefix("gen_ai.usage."), value.is_number()) {
            self.usage.insert(usage(name), value);
            self.is_generation = true;
            let usage = Value::Object(self.usage.clone());
            self.attributes.fields.set(Field::UsageDetails, usage.to_string());
        } else if let Some(name) = name.strip_prefix("gen_ai.request.") {
            self.parameters.insert(name.to_owned(), value);
            let parameters = Value::Object(self.parameters.clone());
            self.attributes.fields.set(Field::ModelParameters, parameters.to_string());
        } else {
            self.set_other(name, value);
        }
    }

    fn set_other(&mut self, name: &str, value: Value) {
        match name {
            "langfuse.observation.type" => {
                self.said = ObservationKind::parse(&text(value)).ok().or(self.said);
            }
            "langfuse.trace.tags" => {
                self.trace().tags = tags(&text(value));
            }
            "otel.name" => self.name = Some(text(value)),
            "otel.status_code" => {
                if text(value).eq_ignore_ascii_case("error") {
                    self.attributes.fields.set(Field::Level, Level::Error.as_str());
                }
            }
            "message" => self.message = Some(text(value)),
            "log.target" => self.target = Some(text(value)),
            "log.module_path" | "log.file" | "log.line" => (),
            _ => {
                if name == "gen_ai.operation.name" {
                    self.said = self.said.or_else(|| operation(value.as_str()?));
                }
                if name == "error" {
                    self.error = Some(text(value.clone()));
                }
                self.attributes.metadata.set(name, text(value).into());
            }
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &field::Field, value: f64) {
        self.set(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &field::Field, value: i64) {
        self.set(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &field::Field, value: u64) {
        self.set(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &field::Field, value: bool) {
        self.set(field.name(), value.into());
    }

    fn record_str(&mut self, field: &field::Field, value: &str) {
        self.set(field.name(), value.into());
    }

    fn record_error(&mut self, field: &field::Field, value: &(dyn Error + 'static)) {
        self.set(field.name(), value.to_string().into());
    }

    fn record_debug(&mut self, field: &field::Field, value: &dyn Debug) {
        self.set(field.name(), format!("{value:?}").into());
    }
}

/// A string as it is, anything else as JSON.
fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

fn field(name: &str) -> Option<Field> {
    Some(match name {
        "langfuse.observation.input" | "gen_ai.input.messages" | "gen_ai.prompt" => Field::Input,
        "langfuse.observation.output" | "gen_ai.output.messages" | "gen_ai.completion" => Field::Output,
        "langfuse.observation.level" => Field::Level,
        "langfuse.observation.status_message" | "otel.status_message" | "otel.status_description" => {
            Field::StatusMessage
        }
        "langfuse.observation.model.name" | "gen_ai.request.model" | "gen_ai.response.model" => Field::Model,
        "langfuse.observation.model.parameters" => Field::ModelParameters,
        "langfuse.observation.usage_details" => Field::UsageDetails,
        "langfuse.observation.cost_details" => Field::CostDetails,
        "langfuse.observation.completion_start_time" => Field::CompletionStart,
        "langfuse.observation.prompt.name" => Field::PromptName,
        "langfuse.observation.prompt.version" => Field::PromptVersion,
        "langfuse.version" => Field::Version,
        "langfuse.environment" => Field::Environment,
        "langfuse.release" => Field::Release,
        _ => return None,
    })
}

fn trace_field(name: &str) -> Option<Field> {
    Some(match name {
        "langfuse.trace.name" => Field::TraceName,
        "langfuse.user.id" | "user.id" => Field::UserId,
        "langfuse.session.id" | "session.id" | "gen_ai.conversation.id" => Field::SessionId,
        "langfuse.trace.public" => Field::Public,
        _ => return None,
    })
}

/// Langfuse's name for a count of tokens.
fn usage(name: &str) -> String {
    match name {
        "input_tokens" | "prompt_tokens" => "input".to_owned(),
        "output_tokens" | "completion_tokens" => "output".to_owned(),
        "total_tokens" => "total".to_owned(),
        _ => name.replace('.', "_"),
    }
}

fn operation(name: &str) -> Option<ObservationKind> {
    Some(match name {
        "chat" | "completion" | "generate_content" | "text_completion" => ObservationKind::Generation,
        "embeddings" => ObservationKind::Embedding,
        "execute_tool" => ObservationKind::Tool,
        "create_agent" | "invoke_agent" => ObservationKind::Agent,
        "retrieval" => ObservationKind::Retriever,
        _ => return None,
    })
}

/// A list in JSON, or words with commas between them.
fn tags(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap_or_else(|_| {
        text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
    })
}
