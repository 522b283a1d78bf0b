//! An observation decodes, with the library that knows OTLP, to the ids, name, times and attributes it had.

#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arbitrary::Arbitrary;
use langfuse_edge::exporter::{Action, Exporter, Settings};
use langfuse_edge::observation::{
    Attributes, Field, Metadata, ObservationData, ObservationKind, TraceAttributes,
};
use langfuse_edge::wire::{Record, encode};
use langfuse_edge::{ObservationId, SpanContext, Timestamp, TraceId};
use libfuzzer_sys::fuzz_target;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

const FIELDS: [(Field, &str); 17] = [
    (Field::Input, "langfuse.observation.input"),
    (Field::Output, "langfuse.observation.output"),
    (Field::Level, "langfuse.observation.level"),
    (Field::StatusMessage, "langfuse.observation.status_message"),
    (Field::Version, "langfuse.version"),
    (Field::Environment, "langfuse.environment"),
    (Field::Model, "langfuse.observation.model.name"),
    (Field::ModelParameters, "langfuse.observation.model.parameters"),
    (Field::UsageDetails, "langfuse.observation.usage_details"),
    (Field::CostDetails, "langfuse.observation.cost_details"),
    (Field::CompletionStart, "langfuse.observation.completion_start_time"),
    (Field::PromptName, "langfuse.observation.prompt.name"),
    (Field::TraceName, "langfuse.trace.name"),
    (Field::UserId, "user.id"),
    (Field::SessionId, "session.id"),
    (Field::Release, "langfuse.release"),
    (Field::Public, "langfuse.trace.public"),
];

const KINDS: [&str; 10] = [
    "span",
    "generation",
    "event",
    "agent",
    "tool",
    "chain",
    "retriever",
    "evaluator",
    "embedding",
    "guardrail",
];

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    trace_id: [u8; 16],
    id: [u8; 8],
    parent: Option<[u8; 8]>,
    is_local_root: bool,
    kind: u8,
    name: &'a str,
    start: u64,
    end: u64,
    prompt_version: Option<u32>,
    environment: Option<&'a str>,
    release: Option<&'a str>,
    fields: Vec<(u8, &'a str)>,
    metadata: Vec<(&'a str, &'a str)>,
    trace_fields: Vec<(u8, &'a str)>,
    trace_metadata: Vec<(&'a str, &'a str)>,
    tags: Vec<&'a str>,
}

/// A field's value on the wire.
fn recorded(field: Field, value: &str) -> Value {
    match field {
        Field::Public => Value::BoolValue(value == "true"),
        _ => text(value),
    }
}

fuzz_target!(|input: Input<'_>| {
    let kind = KINDS[usize::from(input.kind) % KINDS.len()];
    let mut expected = BTreeMap::from([("langfuse.observation.type".to_owned(), text(kind))]);
    if input.is_local_root {
        expected.insert("langfuse.internal.is_app_root".to_owned(), Value::BoolValue(true));
    }
    if let Some(environment) = input.environment {
        expected.insert("langfuse.environment".to_owned(), text(environment));
    }
    if let Some(release) = input.release {
        expected.insert("langfuse.release".to_owned(), text(release));
    }
    if !input.tags.is_empty() {
        let values = input.tags.iter().map(|tag| AnyValue { value: Some(text(tag)) }).collect();
        expected.insert("langfuse.trace.tags".to_owned(), Value::ArrayValue(ArrayValue { values }));
    }

    // The observation's own come last, because they win.
    let mut trace = TraceAttributes::default();
    trace.tags = input.tags.iter().map(|tag| (*tag).to_owned()).collect();
    for (field, value) in &input.trace_fields {
        let (field, key) = FIELDS[usize::from(*field) % FIELDS.len()];
        // Input and output belong to an observation.
        if !matches!(field, Field::Input | Field::Output) {
            trace.fields.set(field, *value);
            expected.insert(key.to_owned(), recorded(field, value));
        }
    }
    set_metadata(&mut trace.metadata, &input.trace_metadata, "langfuse.trace.metadata.", &mut expected);
    let mut attributes = Attributes::default();
    for (field, value) in &input.fields {
        let (field, key) = FIELDS[usize::from(*field) % FIELDS.len()];
        attributes.fields.set(field, *value);
        expected.insert(key.to_owned(), recorded(field, value));
    }
    if let Some(version) = input.prompt_version {
        attributes.fields.set(Field::PromptVersion, version.to_string());
        if version <= 65535 {
            let key = "langfuse.observation.prompt.version".to_owned();
            expected.insert(key, Value::IntValue(i64::from(version)));
        }
    }
    let prefix = "langfuse.observation.metadata.";
    set_metadata(&mut attributes.metadata, &input.metadata, prefix, &mut expected);

    let context = SpanContext {
        trace_id: TraceId::from_random(input.trace_id),
        observation_id: ObservationId::from_random(input.id),
    };
    let parent = input.parent.and_then(ObservationId::from_bytes);
    let observation = ObservationData {
        context,
        parent,
        is_local_root: input.is_local_root,
        kind: ObservationKind::parse(kind).expect("it is one of them"),
        name: input.name.to_owned(),
        start: Timestamp::from_nanos(input.start),
        attributes,
        trace: Arc::new(trace),
    };
    let end = Timestamp::from_nanos(input.end);
    let record = encode(observation, end, input.environment, input.release);
    assert_eq!(record.id(), context.observation_id.to_hex());

    let span = sent(record);
    assert_eq!(span.trace_id, context.trace_id.as_bytes());
    assert_eq!(span.span_id, context.observation_id.as_bytes());
    assert_eq!(span.parent_span_id, parent.map_or(vec![], |parent| parent.as_bytes().to_vec()));
    assert_eq!(span.name, input.name);
    assert_eq!(span.start_time_unix_nano, input.start);
    let end = if kind == "event" { input.start } else { input.end.max(input.start) };
    assert_eq!(span.end_time_unix_nano, end);

    let count = span.attributes.len();
    let attributes: BTreeMap<_, _> = span
        .attributes
        .into_iter()
        .map(|pair| (pair.key, pair.value.and_then(|value| value.value).expect("no value is absent")))
        .collect();
    assert_eq!(attributes.len(), count, "a key comes twice");
    assert_eq!(attributes, expected);
});

/// Sets metadata, under names that stay as they are.
fn set_metadata(
    metadata: &mut Metadata,
    values: &[(&str, &str)],
    prefix: &str,
    expected: &mut BTreeMap<String, Value>,
) {
    for (name, value) in values {
        let name = format!("m{}", name.replace('.', "-"));
        metadata.set(&name, (*value).into());
        expected.insert(format!("{prefix}{name}"), text(value));
    }
}

fn text(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

/// The record as it arrives.
fn sent(record: Record) -> Span {
    let mut exporter = Exporter::new(Settings::default());
    let now = Timestamp::from_millis(1);
    exporter.push(record, now);
    let flush = exporter.begin_flush(Duration::from_secs(1), now);
    let Action::Send(request) = exporter.poll(flush, now) else { panic!("there is a record to send") };
    let request = ExportTraceServiceRequest::decode(&request.body[..]).expect("a body is protobuf");
    let spans = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    let mut spans: Vec<_> = spans.flat_map(|scope| scope.spans).collect();
    assert_eq!(spans.len(), 1);
    spans.remove(0)
}
