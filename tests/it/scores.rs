use std::time::Duration;

use langfuse_edge::exporter::{Action, Exporter, Settings};
use langfuse_edge::wire::{Record, RecordKind, ScoreData, encode_score};
use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::host::{Answer, DEFAULT_BUDGET, Host, Received, millis, secs, status, text, verdicts};
use crate::records::{START, score, small_record, trace_id};

const RECORDED: &str = "2026-01-02T03:04:05.678Z";

#[wasm_bindgen_test(unsupported = test)]
fn one_flush_sends_observations_and_scores_each_kind_to_its_endpoint() {
    let mut host = Host::new(accept);
    for number in 1..=20 {
        host.push(small_record(number));
        host.push(score(&format!("score {number}")));
    }
    let report = host.flush();
    assert!(report.ok, "{report:?}");
    assert_eq!((report.delivered, report.requests), (40, 2));
    let [observations, scores] = &host.requests[..] else { panic!("one request for each kind") };
    assert_eq!(observations.kind.path(), "/api/public/otel/v1/traces");
    assert_eq!(observations.kind.content_type(), "application/x-protobuf");
    assert_eq!(observations.ids(), (1..=20).collect::<Vec<_>>());
    assert_eq!(scores.kind.path(), "/api/public/ingestion");
    assert_eq!(scores.kind.content_type(), "application/json");
    assert_eq!(scores.names().len(), 20);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_score_travels_as_an_event_with_the_time_it_was_recorded() {
    let body = r#"{"name":"quality","value":0.5,"traceId":"abc"}"#;
    let event = sent(&encoded(None, body, None));
    assert_eq!((&event["type"], &event["timestamp"]), (&json!("score-create"), &json!(RECORDED)));
    let id = text(&event["body"]["id"]);
    assert_eq!(event["body"], json!({ "id": id, "name": "quality", "value": 0.5, "traceId": "abc" }));
    assert_eq!(id.len(), 32);
    assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
}

#[wasm_bindgen_test(unsupported = test)]
fn the_same_score_recorded_again_has_the_same_id_and_any_other_another() {
    let body = r#"{"name":"quality","value":1}"#;
    let of = |body, recorded| encode_score(&ScoreData { recorded, ..data(None, body, None) }).id();
    assert_eq!(of(body, RECORDED), of(body, "2026-01-02T03:04:06.000Z"));
    assert_ne!(of(body, RECORDED), of(r#"{"name":"quality","value":2}"#, RECORDED));
    assert_ne!(of(body, RECORDED), of(r#"{"name":"qualitz","value":1}"#, RECORDED));
}

#[wasm_bindgen_test(unsupported = test)]
fn a_score_that_brings_its_id_keeps_it_and_reports_name_it() {
    let record = encoded(Some("thumb-1"), r#"{"id":"thumb-1","name":"quality","value":1}"#, None);
    assert_eq!(record.id(), "thumb-1");
    assert_eq!(sent(&record)["body"], json!({ "id": "thumb-1", "name": "quality", "value": 1 }));

    let mut host = Host::new(|received| verdicts(received, |_| 400));
    host.push(record);
    let report = host.flush();
    let [rejection] = &report.rejected[..] else { panic!("it is rejected: {report:?}") };
    assert_eq!((rejection.id.as_str(), rejection.status), ("thumb-1", 400));
    assert_eq!(rejection.message, "as the server pleases");
}

#[wasm_bindgen_test(unsupported = test)]
fn two_versions_of_one_score_travel_in_events_of_their_own() {
    let first = sent(&encoded(Some("a"), r#"{"id":"a","name":"quality","value":1}"#, None));
    let second = sent(&encoded(Some("a"), r#"{"id":"a","name":"quality","value":2}"#, None));
    assert_ne!(first["id"], second["id"]);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_score_gets_the_environment_of_the_client_when_langfuse_would_take_it() {
    let body = r#"{"name":"quality","value":1}"#;
    assert_eq!(sent(&encoded(None, body, Some("staging-2")))["body"]["environment"], "staging-2");
    assert_eq!(sent(&encoded(None, body, Some("\"},{")))["body"]["environment"], Value::Null);
}

#[wasm_bindgen_test(unsupported = test)]
fn of_a_207_each_score_is_settled_as_it_says_and_only_what_failed_for_now_is_sent_again() {
    let mut round = 0;
    let mut host = Host::new(move |received| {
        round += 1;
        verdicts(received, |name| match name {
            "refused" => 400,
            "later" if round == 1 => 500,
            "too many" if round == 1 => 429,
            "passed over" if round == 1 => 0,
            _ => 201,
        })
    });
    for name in ["good", "refused", "later", "fine", "passed over", "too many"] {
        host.push(score(name));
    }
    let report = host.flush();
    assert_eq!((report.delivered, report.rejected.len(), report.retained), (5, 1, 0));
    assert_eq!((report.requests, report.ambiguous), (2, 0));
    assert_eq!(host.requests[1].names(), ["later", "passed over", "too many"]);
    assert_eq!(host.requests[0].events()[2], host.requests[1].events()[0], "the same bytes again");
    assert!(host.requests[1].at >= millis(55), "after a pause");
}

#[wasm_bindgen_test(unsupported = test)]
fn the_time_that_a_207_names_is_kept() {
    let mut host = Host::new(|received| {
        let is_first = received.at < secs(1);
        verdicts(received, |_| if is_first { 429 } else { 201 }).retry_after("5")
    });
    host.push(score("quality"));
    assert!(host.flush().ok);
    assert!(host.requests[1].at >= secs(5), "{:?}", host.requests[1].at);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_207_that_cannot_be_understood_settles_nothing() {
    let mut host = Host::new(|_| status(207));
    host.push(score("quality"));
    let report = host.flush_within(secs(3));
    assert_eq!((report.delivered, report.retained, report.ok), (0, 1, false));
}

#[wasm_bindgen_test(unsupported = test)]
fn a_plain_200_delivers_all_scores() {
    let mut host = Host::new(|_| status(200));
    host.push(score("quality"));
    assert!(host.flush().ok);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_207_delivers_all_observations() {
    let mut host = Host::new(|_| status(207));
    host.push(small_record(1));
    assert!(host.flush().ok);
}

#[wasm_bindgen_test(unsupported = test)]
fn trouble_at_one_endpoint_does_not_hold_up_the_other() {
    for (broken, whole) in
        [(RecordKind::Score, RecordKind::Observation), (RecordKind::Observation, RecordKind::Score)]
    {
        for trouble in [401, 429, 503] {
            let mut host = Host::new(move |received| {
                if received.kind == broken { status(trouble).retry_after("60") } else { accept(received) }
            });
            host.push(small_record(1));
            host.push(score("quality"));
            let report = host.flush();
            assert_eq!(
                (report.delivered, report.retained, report.requests),
                (1, 1, 2),
                "{broken:?} {trouble}"
            );
            let delivered = host.requests.iter().find(|request| request.kind == whole);
            assert!(delivered.is_some_and(|request| request.at <= millis(10)));
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_flush_waits_for_the_endpoint_that_opens_first() {
    let mut host = Host::new(|received| {
        let after = if received.kind == RecordKind::Score { "2" } else { "8" };
        if received.at < secs(1) { status(429).retry_after(after) } else { accept(received) }
    });
    host.push(small_record(1));
    host.push(score("quality"));
    assert!(host.flush().ok);
    let [.., scores, observations] = &host.requests[..] else { panic!("each is sent again") };
    assert_eq!((scores.kind, observations.kind), (RecordKind::Score, RecordKind::Observation));
    assert!(scores.at < secs(3) && observations.at >= secs(8), "{:?}, {:?}", scores.at, observations.at);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_closed_endpoint_is_probed_while_the_other_has_a_request_in_flight() {
    let mut host = Host::new(|received| match received.kind {
        RecordKind::Score if received.at < secs(1) => status(401),
        RecordKind::Score => accept(received),
        RecordKind::Observation => status(200).after(secs(5)),
    });
    host.push(score("quality"));
    assert_eq!(host.flush().retained, 1);
    host.run_until(secs(40));
    host.push(small_record(1));
    let first = host.begin_flush(DEFAULT_BUDGET);
    let second = host.begin_flush(DEFAULT_BUDGET);
    assert_eq!(host.requests.last().map(|probe| (probe.kind, probe.at)), Some((RecordKind::Score, secs(40))));
    assert_eq!([first, second].map(|flush| host.finish(flush).delivered), [2, 2]);
}

#[wasm_bindgen_test(unsupported = test)]
fn back_off_grows_while_a_207_keeps_putting_off_a_score() {
    let mut host = Host::new(|received| verdicts(received, |name| if name == "later" { 500 } else { 201 }));
    host.push(score("later"));
    let report = host.flush();
    assert_eq!(report.retained, 1);
    assert!(report.requests < 15, "{} requests in 25 s", report.requests);
}

#[wasm_bindgen_test(unsupported = test)]
fn scores_too_many_for_one_request_are_split_by_the_servers_limit() {
    let mut host =
        Host::new(|received| if received.body.len() > 20_000 { status(413) } else { accept(received) });
    for number in 0..400 {
        host.push(score(&format!("score {number}")));
    }
    let report = host.flush();
    assert!(report.ok, "{report:?}");
    assert_eq!(report.delivered, 400);
    let mut names: Vec<_> = host
        .requests
        .iter()
        .filter(|request| request.body.len() <= 20_000)
        .flat_map(Received::names)
        .collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 400);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_body_of_scores_is_as_long_as_the_limit_allows_and_no_longer() {
    let mut settings = Settings::default();
    settings.batch_bytes = 1000;
    let mut host = Host::with(settings, accept);
    for number in 100..200 {
        host.push(score(&format!("score {number}")));
    }
    assert!(host.flush().ok);
    let len = score("score 100").len();
    let most = (1000 - r#"{"batch":[]}"#.len()) / (len + 1);
    let (_, full) = host.requests.split_last().expect("there are requests");
    for request in full {
        assert!(request.body.len() <= 1000);
        assert_eq!(request.events().len(), most);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_late_207_settles_what_it_names() {
    const LEASE: Duration = secs(12);
    let mut exporter = Exporter::new(Settings::default());
    exporter.push(score("good"), START);
    exporter.push(score("later"), START);
    let asleep = exporter.begin_flush(DEFAULT_BUDGET, START);
    let Action::Send(request) = exporter.poll(asleep, START) else { panic!("something waits") };
    let lease = request.lease;
    let received = Received::of(request, secs(0));
    let Answer { outcome, .. } = verdicts(&received, |name| if name == "later" { 503 } else { 201 });

    let other = exporter.begin_flush(Duration::ZERO, START + LEASE);
    assert!(matches!(exporter.poll(other, START + LEASE), Action::Done(report) if report.retained == 2));
    exporter.handle_response(lease, &outcome, START + LEASE);
    let stats = exporter.stats();
    assert_eq!((stats.delivered, stats.queued, stats.leased), (1, 1, 0));
}

#[wasm_bindgen_test(unsupported = test)]
fn a_score_belongs_to_its_trace() {
    assert_eq!(score("quality").trace_id(), Some(trace_id(0xab)));
    assert_eq!(
        encoded(None, r#"{"name":"quality","value":1,"sessionId":"s"}"#, None).kind(),
        RecordKind::Score
    );
}

fn accept(received: &Received) -> Answer {
    match received.kind {
        RecordKind::Observation => status(200),
        RecordKind::Score => verdicts(received, |_| 201),
    }
}

fn data<'a>(id: Option<&'a str>, body: &'a str, environment: Option<&'a str>) -> ScoreData<'a> {
    ScoreData { id, trace_id: None, body, environment, recorded: RECORDED }
}

fn encoded(id: Option<&str>, body: &str, environment: Option<&str>) -> Record {
    encode_score(&data(id, body, environment))
}

/// The event as the server gets it.
fn sent(record: &Record) -> Value {
    let mut host = Host::new(|_| status(200));
    host.push(record.clone());
    assert!(host.flush().ok);
    host.requests[0].events().remove(0)
}
