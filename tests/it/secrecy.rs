//! What is recorded is for Langfuse's eyes: no `Debug` shows it, as text or as bytes.

use std::fmt::Debug;
use std::sync::Arc;

use langfuse_edge::exporter::{Action, Exporter, Settings};
use langfuse_edge::observation::{Field, ObservationData, TraceAttributes};
use langfuse_edge::wire::encode;
use wasm_bindgen_test::wasm_bindgen_test;

use crate::host::DEFAULT_BUDGET;
use crate::records::{END, START, hex, observation};

const SECRET: &str = "my diagnosis";

#[wasm_bindgen_test(unsupported = test)]
fn an_open_observation_does_not_show_what_it_says() {
    assert_discreet(&secret_observation());
}

#[wasm_bindgen_test(unsupported = test)]
fn a_record_shows_its_id_and_size_only() {
    let record = encode(secret_observation(), END, None, None);
    assert_discreet(&record);
    let expected = format!("Record {{ id: {}, len: {} }}", hex(1), record.len());
    assert_eq!(format!("{record:?}"), expected);
}

#[wasm_bindgen_test(unsupported = test)]
fn an_exporter_and_its_requests_do_not_show_what_they_carry() {
    let mut exporter = Exporter::new(Settings::default());
    exporter.push(encode(secret_observation(), END, None, None), END);
    assert_discreet(&exporter);
    let flush = exporter.begin_flush(DEFAULT_BUDGET, START);
    let action = exporter.poll(flush, START);
    assert_discreet(&action);
    assert_discreet(&exporter);
    let Action::Send(request) = action else { panic!("there is a record to send") };
    assert!(format!("{request:?}").contains(&format!("body: {} bytes", request.body.len())), "{request:?}");
}

fn secret_observation() -> ObservationData {
    let mut observation = observation(1);
    for field in [Field::Input, Field::Output, Field::StatusMessage] {
        observation.attributes.fields.set(field, SECRET);
    }
    observation.attributes.metadata.set("note", SECRET.into());
    let mut trace = TraceAttributes::default();
    trace.fields.set(Field::UserId, SECRET);
    trace.metadata.set("note", SECRET.into());
    observation.trace = Arc::new(trace);
    observation
}

fn assert_discreet(value: &impl Debug) {
    let bytes = format!("{:?}", SECRET.as_bytes());
    let debugged = format!("{value:?}");
    assert!(!debugged.contains(SECRET), "{debugged}");
    assert!(!debugged.contains(bytes.trim_matches(['[', ']'])), "{debugged}");
}
