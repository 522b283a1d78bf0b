//! What is on the wire, read with the library that knows OTLP.

use std::collections::BTreeSet;
use std::sync::Arc;

use langfuse_edge::observation::{Attributes, Field, ObservationData, ObservationKind, TraceAttributes};
use langfuse_edge::wire::{Record, encode};
use langfuse_edge::{Timestamp, TraceId};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use wasm_bindgen_test::wasm_bindgen_test;

use crate::body;
use crate::host::{Host, status};
use crate::records::{END, START, hex, observation, observation_id, small_record};

const MIB: usize = 1024 * 1024;

#[wasm_bindgen_test(unsupported = test)]
fn a_bare_observation_has_ids_a_name_times_and_a_type() {
    let span = sent(observation(0x0123_4567_89ab_cdef));
    assert_eq!(span.trace_id, [0xab; 16]);
    assert_eq!(span.span_id, [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
    assert!(span.parent_span_id.is_empty());
    assert_eq!(span.name, "step 81985529216486895");
    assert_eq!(span.kind, 1);
    assert_eq!(span.start_time_unix_nano, START.as_nanos());
    assert_eq!(span.end_time_unix_nano, END.as_nanos());
    assert_eq!(attributes(&span), [("langfuse.observation.type", text("span"))]);
    assert!(span.events.is_empty() && span.links.is_empty() && span.trace_state.is_empty());
}

#[wasm_bindgen_test(unsupported = test)]
fn a_child_names_its_parent() {
    let mut child = observation(2);
    child.parent = Some(observation_id(1));
    assert_eq!(sent(child).parent_span_id, [0, 0, 0, 0, 0, 0, 0, 1]);
}

#[wasm_bindgen_test(unsupported = test)]
fn every_attribute_has_the_key_and_type_that_langfuse_reads() {
    let mut observation = observation(7);
    observation.parent = Some(observation_id(6));
    observation.is_local_root = true;
    observation.kind = ObservationKind::Generation;
    for (field, value) in [
        (Field::Input, r#"[{"role":"user","content":"Hi"}]"#),
        (Field::Output, "Hello"),
        (Field::Level, "WARNING"),
        (Field::StatusMessage, "slow"),
        (Field::Version, "1.2"),
        (Field::Model, "gpt-4o"),
        (Field::ModelParameters, r#"{"temperature":0.5}"#),
        (Field::UsageDetails, r#"{"input":512,"output":128}"#),
        (Field::CostDetails, r#"{"total":0.01}"#),
        (Field::CompletionStart, "2023-11-14T22:13:20.500Z"),
        (Field::PromptName, "greeting"),
        (Field::PromptVersion, "3"),
    ] {
        observation.attributes.fields.set(field, value);
    }
    observation.attributes.metadata.set("attempt", "2".into());
    observation.attributes.metadata.set("nested.key", r#"{"a":1}"#.into());
    let mut trace = TraceAttributes::default();
    trace.fields.set(Field::TraceName, "reply to mail");
    trace.fields.set(Field::UserId, "user-1");
    trace.fields.set(Field::SessionId, "session-1");
    trace.fields.set(Field::Public, "true");
    trace.tags = vec!["mail".to_owned(), "beta".to_owned()];
    trace.metadata.set("tenant", "acme".into());
    observation.trace = Arc::new(trace);

    let span = decode(&body_of(vec![encode(observation, END, Some("production"), Some("v42"))])).remove(0);
    let mut expected = vec![
        ("langfuse.environment", text("production")),
        ("langfuse.internal.is_app_root", Value::BoolValue(true)),
        ("langfuse.observation.completion_start_time", text("2023-11-14T22:13:20.500Z")),
        ("langfuse.observation.cost_details", text(r#"{"total":0.01}"#)),
        ("langfuse.observation.input", text(r#"[{"role":"user","content":"Hi"}]"#)),
        ("langfuse.observation.level", text("WARNING")),
        ("langfuse.observation.metadata.attempt", text("2")),
        ("langfuse.observation.metadata.nested.key", text(r#"{"a":1}"#)),
        ("langfuse.observation.model.name", text("gpt-4o")),
        ("langfuse.observation.model.parameters", text(r#"{"temperature":0.5}"#)),
        ("langfuse.observation.output", text("Hello")),
        ("langfuse.observation.prompt.name", text("greeting")),
        ("langfuse.observation.prompt.version", Value::IntValue(3)),
        ("langfuse.observation.status_message", text("slow")),
        ("langfuse.observation.type", text("generation")),
        ("langfuse.observation.usage_details", text(r#"{"input":512,"output":128}"#)),
        ("langfuse.release", text("v42")),
        ("langfuse.trace.metadata.tenant", text("acme")),
        ("langfuse.trace.name", text("reply to mail")),
        ("langfuse.trace.public", Value::BoolValue(true)),
        ("langfuse.trace.tags", texts(&["mail", "beta"])),
        ("langfuse.version", text("1.2")),
        ("session.id", text("session-1")),
        ("user.id", text("user-1")),
    ];
    expected.sort_by_key(|(key, _)| *key);
    assert_eq!(attributes(&span), expected);
}

#[wasm_bindgen_test(unsupported = test)]
fn every_kind_has_its_lower_case_type() {
    for name in [
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
    ] {
        let mut observation = observation(1);
        observation.kind = ObservationKind::parse(name).unwrap();
        assert_eq!(attributes(&sent(observation)), [("langfuse.observation.type", text(name))]);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn only_the_first_observation_of_a_process_is_an_app_root() {
    let is_app_root = |is_local_root| {
        let mut observation = observation(1);
        observation.is_local_root = is_local_root;
        attribute(&sent(observation), "langfuse.internal.is_app_root")
    };
    assert_eq!(is_app_root(true), Some(Value::BoolValue(true)));
    assert_eq!(is_app_root(false), None);
}

#[wasm_bindgen_test(unsupported = test)]
fn no_tags_are_no_attribute() {
    assert_eq!(attribute(&sent(observation(1)), "langfuse.trace.tags"), None);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_prompt_version_that_langfuse_cannot_store_is_left_out() {
    let version = |version: &str| {
        let mut observation = observation(1);
        observation.attributes.fields.set(Field::PromptVersion, version);
        attribute(&sent(observation), "langfuse.observation.prompt.version")
    };
    for stored in [0, 1, 127, 128, 65535] {
        assert_eq!(version(&stored.to_string()), Some(Value::IntValue(stored)));
    }
    for bad in ["65536", "-1", "1.0", "latest", ""] {
        assert_eq!(version(bad), None, "{bad:?}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn an_observations_own_environment_wins_over_the_clients() {
    let environment = |own: Option<&str>, clients| {
        let mut observation = observation(1);
        if let Some(own) = own {
            observation.attributes.fields.set(Field::Environment, own);
        }
        let record = encode(observation, END, clients, None);
        attribute(&decode(&body_of(vec![record]))[0], "langfuse.environment")
    };
    assert_eq!(environment(Some("evaluation"), Some("production")), Some(text("evaluation")));
    assert_eq!(environment(Some("evaluation"), None), Some(text("evaluation")));
    assert_eq!(environment(None, Some("production")), Some(text("production")));
    assert_eq!(environment(None, None), None);
}

#[wasm_bindgen_test(unsupported = test)]
fn metadata_under_names_langfuse_uses_itself_is_renamed_and_not_lost() {
    let mut observation = observation(1);
    let names = [
        ("attributes", "attributes_"),
        ("resourceAttributes", "resourceAttributes_"),
        ("scope", "scope_"),
        ("__proto__", "__proto___"),
        ("constructor", "constructor_"),
        ("prototype", "prototype_"),
        ("a.__proto__.b", "a.__proto___.b"),
        ("", "_"),
        ("a..b", "a._.b"),
        (".a", "_.a"),
        ("scopes", "scopes"),
        ("with space and ü", "with space and ü"),
    ];
    for (name, _) in names {
        observation.attributes.metadata.set(name, name.into());
    }
    let span = sent(observation);
    for (name, renamed) in names {
        let key = format!("langfuse.observation.metadata.{renamed}");
        assert_eq!(attribute(&span, &key), Some(text(name)), "{name:?}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn what_is_set_twice_is_sent_once_with_its_last_value() {
    let mut observation = observation(1);
    for value in ["first", "second"] {
        observation.attributes.fields.set(Field::Input, value);
        observation.attributes.fields.set(Field::Model, value);
        observation.attributes.metadata.set("note", value.into());
    }
    let span = sent(observation);
    assert_eq!(attribute(&span, "langfuse.observation.input"), Some(text("second")));
    assert_eq!(attribute(&span, "langfuse.observation.model.name"), Some(text("second")));
    assert_eq!(attribute(&span, "langfuse.observation.metadata.note"), Some(text("second")));
    assert_eq!(span.attributes.len(), 4);
}

#[wasm_bindgen_test(unsupported = test)]
fn what_an_observation_says_itself_wins_over_its_trace_and_the_client() {
    let mut observation = observation(1);
    let mut trace = TraceAttributes::default();
    for (field, own) in [(Field::Version, "1"), (Field::UserId, "own"), (Field::Environment, "own")] {
        observation.attributes.fields.set(field, own);
        trace.fields.set(field, "trace's");
    }
    trace.fields.set(Field::SessionId, "trace's");
    trace.fields.set(Field::Release, "trace's");
    observation.trace = Arc::new(trace);
    let record = encode(observation.clone(), END, Some("client's"), Some("client's"));
    let span = decode(&body_of(vec![record])).remove(0);
    assert_eq!(attribute(&span, "langfuse.version"), Some(text("1")));
    assert_eq!(attribute(&span, "user.id"), Some(text("own")));
    assert_eq!(attribute(&span, "langfuse.environment"), Some(text("own")));
    assert_eq!(attribute(&span, "session.id"), Some(text("trace's")));
    assert_eq!(attribute(&span, "langfuse.release"), Some(text("trace's")));

    observation.attributes = Attributes::default();
    let span = decode(&body_of(vec![encode(observation, END, Some("client's"), None)])).remove(0);
    assert_eq!(attribute(&span, "langfuse.version"), Some(text("trace's")));
    assert_eq!(attribute(&span, "langfuse.environment"), Some(text("trace's")));
}

#[wasm_bindgen_test(unsupported = test)]
fn an_empty_text_is_sent_as_an_empty_text() {
    let mut observation = observation(1);
    observation.name = String::new();
    observation.attributes.fields.set(Field::Output, "");
    observation.attributes.metadata.set("nothing", "".into());
    let span = sent(observation);
    assert_eq!(attribute(&span, "langfuse.observation.output"), Some(text("")));
    assert_eq!(attribute(&span, "langfuse.observation.metadata.nothing"), Some(text("")));
}

#[wasm_bindgen_test(unsupported = test)]
fn unicode_arrives_as_it_was() {
    let words = "naïve 日本語 🦀 e\u{301} \u{0} \u{202e}";
    let mut observation = observation(1);
    observation.name = words.to_owned();
    observation.attributes.fields.set(Field::Input, words);
    observation.attributes.metadata.set("größe", words.into());
    let mut trace = TraceAttributes::default();
    trace.tags = vec![words.to_owned()];
    observation.trace = Arc::new(trace);
    let span = sent(observation);
    assert_eq!(span.name, words);
    assert_eq!(attribute(&span, "langfuse.observation.input"), Some(text(words)));
    assert_eq!(attribute(&span, "langfuse.observation.metadata.größe"), Some(text(words)));
    assert_eq!(attribute(&span, "langfuse.trace.tags"), Some(texts(&[words])));
}

#[wasm_bindgen_test(unsupported = test)]
fn lengths_of_every_number_of_bytes_are_written_right() {
    for len in [0, 1, 100, 127, 128, 129, 300, 16_383, 16_384, 20_000, 200_000, MIB] {
        let mut observation = observation(1);
        observation.attributes.fields.set(Field::Input, "x".repeat(len));
        let Some(Value::StringValue(input)) = attribute(&sent(observation), "langfuse.observation.input")
        else {
            panic!("an input of {len} bytes is a string")
        };
        assert_eq!(input.len(), len);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_request_names_the_service_and_a_scope_that_langfuse_knows() {
    let body = body_of(vec![small_record(1)]);
    let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
    let [resource_spans] = &request.resource_spans[..] else { panic!("one resource") };
    let resource = resource_spans.resource.as_ref().unwrap();
    assert_eq!(pairs(&resource.attributes), [("service.name", text("langfuse-edge"))]);
    let [scope_spans] = &resource_spans.scope_spans[..] else { panic!("one scope") };
    let scope = scope_spans.scope.as_ref().unwrap();
    assert!(scope.name.starts_with("langfuse-sdk"), "{}", scope.name);
    assert_eq!(scope.version, env!("CARGO_PKG_VERSION"));
    assert!(scope.attributes.is_empty());
}

#[wasm_bindgen_test(unsupported = test)]
fn a_request_has_its_spans_in_order() {
    let body = body_of((1..=300).map(small_record).collect());
    let names: Vec<_> = decode(&body).into_iter().map(|span| span.name).collect();
    assert_eq!(names, (1..=300).map(|number| format!("step {number}")).collect::<Vec<_>>());
}

#[wasm_bindgen_test(unsupported = test)]
fn the_stories_own_reader_of_bodies_sees_what_the_library_sees() {
    let body = body_of((1..=300).map(small_record).collect());
    let ours = body::spans(&body);
    let theirs = decode(&body);
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!(ours.id.to_be_bytes()[..], theirs.span_id);
        assert_eq!(Span::decode(ours.bytes).unwrap(), theirs);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn an_input_of_two_mib_is_cut_at_a_character_and_says_by_how_much() {
    // The limit falls into the middle of a character.
    let long = format!("x{}", "€".repeat(2 * MIB / 3));
    let mut observation = observation(1);
    let usage = format!(r#"{{"note":"{}"}}"#, "u".repeat(2 * MIB));
    observation.attributes.fields.set(Field::Input, long.clone());
    observation.attributes.fields.set(Field::Output, long.clone());
    observation.attributes.fields.set(Field::Model, "m".repeat(2 * MIB));
    observation.attributes.fields.set(Field::UsageDetails, usage.clone());
    observation.attributes.metadata.set("log", long.clone().into());
    let span = sent(observation);
    for key in
        ["langfuse.observation.input", "langfuse.observation.output", "langfuse.observation.metadata.log"]
    {
        let Some(Value::StringValue(cut)) = attribute(&span, key) else { panic!("{key} is a string") };
        let (kept, marker) = cut.split_once("…[truncated ").unwrap();
        assert!(long.starts_with(kept) && kept.len() <= MIB && kept.len() > MIB - 4, "{}", kept.len());
        assert_eq!(marker, format!("{} bytes]", long.len() - kept.len()));
    }
    assert_eq!(attribute(&span, "langfuse.observation.model.name"), Some(text(&"m".repeat(2 * MIB))));
    assert_eq!(attribute(&span, "langfuse.observation.usage_details"), Some(text(&usage)));
}

#[wasm_bindgen_test(unsupported = test)]
fn a_status_message_and_metadata_of_the_trace_are_cut_too() {
    let long = "x".repeat(2 * MIB);
    let mut observation = observation(1);
    observation.attributes.fields.set(Field::StatusMessage, long.clone());
    let mut trace = TraceAttributes::default();
    trace.metadata.set("log", long.into());
    observation.trace = Arc::new(trace);
    let span = sent(observation);
    for key in ["langfuse.observation.status_message", "langfuse.trace.metadata.log"] {
        let Some(Value::StringValue(cut)) = attribute(&span, key) else { panic!("{key} is a string") };
        assert_eq!(cut, format!("{}…[truncated {MIB} bytes]", "x".repeat(MIB)), "{key}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn an_end_before_the_start_gives_a_duration_of_zero() {
    let record = encode(observation(1), Timestamp::from_millis(5), None, None);
    let span = decode(&body_of(vec![record])).remove(0);
    assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (START.as_nanos(), START.as_nanos()));
}

#[wasm_bindgen_test(unsupported = test)]
fn an_event_ends_when_it_begins() {
    let mut observation = observation(1);
    observation.kind = ObservationKind::Event;
    let span = sent(observation);
    assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (START.as_nanos(), START.as_nanos()));
}

#[wasm_bindgen_test(unsupported = test)]
fn a_record_knows_its_id() {
    let mut observation = observation(9);
    observation.context.trace_id = TraceId::from_random([1; 16]);
    assert_eq!(encode(observation, END, None, None).id(), hex(9));
}

#[wasm_bindgen_test(unsupported = test)]
fn a_record_that_lost_its_input_is_still_a_whole_span() {
    let mut host = Host::new(|request| if request.body.len() > 2000 { status(413) } else { status(200) });
    let mut observation = observation(6);
    observation.attributes.metadata.set("langfuse_edge_truncated", "the user's own".into());
    observation.attributes.fields.set(Field::Input, "i".repeat(3000));
    observation.attributes.fields.set(Field::Output, "o".repeat(3000));
    observation.attributes.fields.set(Field::Model, "gpt-4o");
    observation.attributes.fields.set(Field::UsageDetails, r#"{"input":5}"#);
    host.push(encode(observation, END, None, None));
    assert!(host.flush().ok);
    let mut expected = decode(&host.requests[0].body).remove(0);
    let cut = decode(&host.requests[1].body).remove(0);
    let is_payload = |pair: &KeyValue| pair.key.ends_with(".input") || pair.key.ends_with(".output");
    let removed = expected.attributes.iter().filter(|pair| is_payload(pair)).map(Message::encoded_len);
    // With the tag and the two bytes of the length of each.
    let removed = removed.map(|len| len + 3).sum::<usize>();
    expected.attributes.retain(|pair| !is_payload(pair));
    let note = format!("input and output were too large for the server and are left out ({removed} bytes)");
    expected.attributes.push(KeyValue {
        key: "langfuse.observation.metadata.langfuse_edge_truncated".to_owned(),
        value: Some(AnyValue { value: Some(text(&note)) }),
        ..KeyValue::default()
    });
    assert_eq!(cut, expected);
}

/// The observation as it arrives.
fn sent(observation: ObservationData) -> Span {
    decode(&body_of(vec![encode(observation, END, None, None)])).remove(0)
}

/// The one request these records travel in.
fn body_of(records: Vec<Record>) -> Vec<u8> {
    let mut host = Host::new(|_| status(200));
    for record in records {
        host.push(record);
    }
    assert!(host.flush().ok);
    assert_eq!(host.requests.len(), 1);
    host.requests.remove(0).body
}

/// The spans of a request, none of which has what Langfuse's worker chokes on.
fn decode(body: &[u8]) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let spans = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    let spans: Vec<_> = spans.flat_map(|scope| scope.spans).collect();
    for span in &spans {
        let keys: BTreeSet<_> = span.attributes.iter().map(|pair| &pair.key).collect();
        assert_eq!(keys.len(), span.attributes.len(), "a key comes twice: {:?}", span.attributes);
        for pair in &span.attributes {
            check_value(pair.value.as_ref());
        }
    }
    spans
}

fn check_value(value: Option<&AnyValue>) {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(_) | Value::BoolValue(_) | Value::IntValue(_)) => (),
        Some(Value::ArrayValue(ArrayValue { values })) => {
            assert!(!values.is_empty());
            values.iter().for_each(|value| check_value(Some(value)));
        }
        other => panic!("Langfuse cannot take {other:?}"),
    }
}

/// By key.
fn attributes(span: &Span) -> Vec<(&str, Value)> {
    let mut attributes = pairs(&span.attributes);
    attributes.sort_by_key(|(key, _)| *key);
    attributes
}

fn attribute(span: &Span, key: &str) -> Option<Value> {
    attributes(span).into_iter().find(|(known, _)| *known == key).map(|(_, value)| value)
}

fn pairs(attributes: &[KeyValue]) -> Vec<(&str, Value)> {
    let value = |pair: &KeyValue| pair.value.clone().and_then(|value| value.value).unwrap();
    attributes.iter().map(|pair| (pair.key.as_str(), value(pair))).collect()
}

fn text(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

fn texts(values: &[&str]) -> Value {
    let values = values.iter().map(|value| AnyValue { value: Some(text(value)) });
    Value::ArrayValue(ArrayValue { values: values.collect() })
}
