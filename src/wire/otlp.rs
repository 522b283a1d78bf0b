//! OTLP traces (opentelemetry-proto 1.x, `trace/v1/trace.proto`) with the attributes Langfuse reads.

use super::protobuf::{begin, bytes, field_len, fixed64, uint, varint_len};
use super::{Record, RecordId};
use crate::observation::{Field, ObservationData, ObservationKind, REMOVED_PAYLOAD};
use crate::time::Timestamp;

/// Field numbers of the messages, by message.
mod field {
    pub(super) const REQUEST_RESOURCE_SPANS: u8 = 1;
    pub(super) const RESOURCE_SPANS_RESOURCE: u8 = 1;
    pub(super) const RESOURCE_SPANS_SCOPE_SPANS: u8 = 2;
    pub(super) const RESOURCE_ATTRIBUTES: u8 = 1;
    pub(super) const SCOPE_SPANS_SCOPE: u8 = 1;
    pub(super) const SCOPE_SPANS_SPANS: u8 = 2;
    pub(super) const SCOPE_NAME: u8 = 1;
    pub(super) const SCOPE_VERSION: u8 = 2;
    pub(super) const SPAN_TRACE_ID: u8 = 1;
    pub(super) const SPAN_SPAN_ID: u8 = 2;
    pub(super) const SPAN_PARENT_SPAN_ID: u8 = 4;
    pub(super) const SPAN_NAME: u8 = 5;
    pub(super) const SPAN_KIND: u8 = 6;
    pub(super) const SPAN_START: u8 = 7;
    pub(super) const SPAN_END: u8 = 8;
    pub(super) const SPAN_ATTRIBUTES: u8 = 9;
    pub(super) const KEY_VALUE_KEY: u8 = 1;
    pub(super) const KEY_VALUE_VALUE: u8 = 2;
    pub(super) const ANY_VALUE_STRING: u8 = 1;
    pub(super) const ANY_VALUE_BOOL: u8 = 2;
    pub(super) const ANY_VALUE_INT: u8 = 3;
    pub(super) const ANY_VALUE_ARRAY: u8 = 5;
    pub(super) const ARRAY_VALUES: u8 = 1;
}

const SPAN_KIND_INTERNAL: u64 = 1;

/// Langfuse keeps the raw attributes out of a row's metadata only for scopes whose name begins with `langfuse-sdk`.
const SCOPE_NAME: &str = "langfuse-sdk-edge";
const SERVICE_NAME: &str = "langfuse-edge";

/// The most bytes of input, output, status message or a metadata value. Langfuse cuts larger ones to 500 KiB itself,
/// without saying how much is gone. What must stay whole to be understood, such as token usage, is never cut.
const FIELD_BYTES: usize = 1024 * 1024;

/// Encodes an observation that ends at `end`. `environment` and `release` are the client's; those of the
/// observation or its trace win over them, as the observation wins over its trace.
#[must_use]
pub fn encode(
    observation: ObservationData,
    end: Timestamp,
    environment: Option<&str>,
    release: Option<&str>,
) -> Record {
    let ObservationData { context, parent, is_local_root, kind, name, start, attributes, trace } =
        &observation;
    let cut = |field| (field, attributes.fields.get(field).map(|text| text.cut(FIELD_BYTES)));
    let payload = [Field::Input, Field::Output].map(cut);
    let payload_len: usize =
        payload.iter().filter_map(|(_, text)| text.as_ref()).map(|text| text.len()).sum();

    let mut out = Vec::with_capacity(512 + payload_len);
    bytes(&mut out, field::SPAN_TRACE_ID, context.trace_id.as_bytes());
    bytes(&mut out, field::SPAN_SPAN_ID, context.observation_id.as_bytes());
    if let Some(parent) = parent {
        bytes(&mut out, field::SPAN_PARENT_SPAN_ID, parent.as_bytes());
    }
    bytes(&mut out, field::SPAN_NAME, name.as_bytes());
    uint(&mut out, field::SPAN_KIND, SPAN_KIND_INTERNAL);
    fixed64(&mut out, field::SPAN_START, start.as_nanos());
    let end = match kind {
        // A point in time, also when it is recorded later.
        ObservationKind::Event => *start,
        // A clock that was set back during the observation must not give it a negative duration.
        _ => end.max(*start),
    };
    fixed64(&mut out, field::SPAN_END, end.as_nanos());

    string_attribute(&mut out, "langfuse.observation.type", "", kind.as_str().as_bytes());
    if *is_local_root {
        bool_attribute(&mut out, "langfuse.internal.is_app_root", true);
    }
    let inherited = trace.fields.iter().filter(|(field, _)| attributes.fields.get(*field).is_none());
    for (field, clients) in [(Field::Environment, environment), (Field::Release, release)] {
        let own = attributes.fields.get(field).or_else(|| trace.fields.get(field));
        if let (Some(clients), None) = (clients, own) {
            string_attribute(&mut out, attribute_key(field), "", clients.as_bytes());
        }
    }
    for (field, text) in attributes.fields.iter().chain(inherited) {
        match field {
            Field::Input | Field::Output => (),
            Field::PromptVersion => {
                if let Some(version) = text.as_str().parse::<u32>().ok().filter(|version| *version <= 65535) {
                    int_attribute(&mut out, attribute_key(field), version);
                }
            }
            Field::StatusMessage => {
                string_attribute(&mut out, attribute_key(field), "", text.cut(FIELD_BYTES).as_bytes());
            }
            Field::Public => bool_attribute(&mut out, attribute_key(field), text.as_str() == "true"),
            _ => string_attribute(&mut out, attribute_key(field), "", text.as_bytes()),
        }
    }
    strings_attribute(&mut out, "langfuse.trace.tags", &trace.tags);
    for (prefix, metadata) in [
        ("langfuse.trace.metadata.", &trace.metadata),
        ("langfuse.observation.metadata.", &attributes.metadata),
    ] {
        for (name, value) in metadata.iter() {
            string_attribute(&mut out, prefix, name, value.cut(FIELD_BYTES).as_bytes());
        }
    }

    let payload_at = out.len();
    for (field, text) in payload {
        if let Some(text) = text {
            string_attribute(&mut out, attribute_key(field), "", text.as_bytes());
        }
    }
    Record::new(RecordId::Observation(context.observation_id), Some(context.trace_id), out, payload_at)
}

/// The attribute Langfuse reads a field from.
fn attribute_key(field: Field) -> &'static str {
    match field {
        Field::Input => "langfuse.observation.input",
        Field::Output => "langfuse.observation.output",
        Field::Level => "langfuse.observation.level",
        Field::StatusMessage => "langfuse.observation.status_message",
        Field::Version => "langfuse.version",
        Field::Environment => "langfuse.environment",
        Field::Model => "langfuse.observation.model.name",
        Field::ModelParameters => "langfuse.observation.model.parameters",
        Field::UsageDetails => "langfuse.observation.usage_details",
        Field::CostDetails => "langfuse.observation.cost_details",
        Field::CompletionStart => "langfuse.observation.completion_start_time",
        Field::PromptName => "langfuse.observation.prompt.name",
        Field::PromptVersion => "langfuse.observation.prompt.version",
        Field::TraceName => "langfuse.trace.name",
        Field::UserId => "user.id",
        Field::SessionId => "session.id",
        Field::Release => "langfuse.release",
        Field::Public => "langfuse.trace.public",
    }
}

/// Appends to a span the note that its input and output were removed.
pub(super) fn note_removed_payload(out: &mut Vec<u8>, removed: usize) {
    let removed = removed.to_string();
    let note =
        ["input and output were too large for the server and are left out (", &removed, " bytes)"].concat();
    string_attribute(out, "langfuse.observation.metadata.", REMOVED_PAYLOAD, note.as_bytes());
}

/// The bytes a span of `len` bytes takes in a body.
pub(super) const fn framed_span_len(len: usize) -> usize {
    field_len(len)
}

/// What every request of a client begins with: the resource and the scope.
#[derive(Debug)]
pub(super) struct Preamble {
    resource: Vec<u8>,
    scope: Vec<u8>,
}

impl Preamble {
    pub(super) fn new() -> Self {
        let mut attributes = Vec::new();
        key_value(
            &mut attributes,
            field::RESOURCE_ATTRIBUTES,
            "service.name",
            "",
            string_len(SERVICE_NAME),
            |out| {
                bytes(out, field::ANY_VALUE_STRING, SERVICE_NAME.as_bytes());
            },
        );
        let mut resource = Vec::new();
        bytes(&mut resource, field::RESOURCE_SPANS_RESOURCE, &attributes);

        let mut names = Vec::new();
        bytes(&mut names, field::SCOPE_NAME, SCOPE_NAME.as_bytes());
        bytes(&mut names, field::SCOPE_VERSION, env!("CARGO_PKG_VERSION").as_bytes());
        let mut scope = Vec::new();
        bytes(&mut scope, field::SCOPE_SPANS_SCOPE, &names);
        Self { resource, scope }
    }

    /// The bytes a body has beside its spans, at most.
    pub(super) fn overhead(&self) -> usize {
        const LONGEST_PREFIX: usize = 11;
        self.resource.len() + self.scope.len() + 2 * LONGEST_PREFIX
    }

    /// An `ExportTraceServiceRequest` of these records.
    pub(super) fn body<'a>(&self, records: impl Iterator<Item = &'a Record> + Clone) -> Vec<u8> {
        let scope_spans = self.scope.len() + records.clone().map(Record::framed_len).sum::<usize>();
        let resource_spans = self.resource.len() + field_len(scope_spans);
        let mut out = Vec::with_capacity(field_len(resource_spans));
        begin(&mut out, field::REQUEST_RESOURCE_SPANS, resource_spans);
        out.extend_from_slice(&self.resource);
        begin(&mut out, field::RESOURCE_SPANS_SCOPE_SPANS, scope_spans);
        out.extend_from_slice(&self.scope);
        for record in records {
            bytes(&mut out, field::SCOPE_SPANS_SPANS, &record.bytes);
        }
        out
    }
}

const fn string_len(value: &str) -> usize {
    field_len(value.len())
}

/// A `KeyValue`; the key is `prefix` and `name` together. `value` writes the `AnyValue`'s member,
/// of `value_len` bytes: a `KeyValue` without one would throw in Langfuse's worker.
fn key_value(
    out: &mut Vec<u8>,
    field: u8,
    prefix: &str,
    name: &str,
    value_len: usize,
    value: impl FnOnce(&mut Vec<u8>),
) {
    let key_len = prefix.len() + name.len();
    begin(out, field, field_len(key_len) + field_len(value_len));
    begin(out, field::KEY_VALUE_KEY, key_len);
    out.extend_from_slice(prefix.as_bytes());
    out.extend_from_slice(name.as_bytes());
    begin(out, field::KEY_VALUE_VALUE, value_len);
    value(out);
}

fn string_attribute(out: &mut Vec<u8>, prefix: &str, name: &str, value: &[u8]) {
    key_value(out, field::SPAN_ATTRIBUTES, prefix, name, field_len(value.len()), |out| {
        bytes(out, field::ANY_VALUE_STRING, value);
    });
}

fn bool_attribute(out: &mut Vec<u8>, key: &str, value: bool) {
    key_value(out, field::SPAN_ATTRIBUTES, key, "", 2, |out| {
        uint(out, field::ANY_VALUE_BOOL, u64::from(value));
    });
}

fn int_attribute(out: &mut Vec<u8>, key: &str, value: u32) {
    let value = u64::from(value);
    key_value(out, field::SPAN_ATTRIBUTES, key, "", 1 + varint_len(value), |out| {
        uint(out, field::ANY_VALUE_INT, value);
    });
}

/// An empty list is left out: Langfuse would store the wrapper's text as one entry.
fn strings_attribute(out: &mut Vec<u8>, key: &str, values: &[String]) {
    if values.is_empty() {
        return;
    }
    let array_len: usize = values.iter().map(|value| field_len(string_len(value))).sum();
    key_value(out, field::SPAN_ATTRIBUTES, key, "", field_len(array_len), |out| {
        begin(out, field::ANY_VALUE_ARRAY, array_len);
        for value in values {
            begin(out, field::ARRAY_VALUES, string_len(value));
            bytes(out, field::ANY_VALUE_STRING, value.as_bytes());
        }
    });
}
