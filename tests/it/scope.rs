use langfuse_edge::exporter::{FlushSettings, Scope, Settings};
use langfuse_edge::wire::{ScoreData, encode_score};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::host::{DEFAULT_BUDGET, Host, millis, secs, status};
use crate::records::{record_of_trace, record_with_input, score_of_trace, trace_id};

#[wasm_bindgen_test(unsupported = test)]
fn a_scoped_flush_covers_the_records_of_its_traces_and_takes_others_along() {
    let mut host = Host::new(|_| status(200));
    for number in 1..=10 {
        host.push(record_of_trace(number, if number > 7 { 2 } else { 1 }));
    }
    let flush = host.begin_flush_of(3, of_traces(&[2]));
    let report = host.finish(flush);
    assert!(report.ok);
    assert_eq!((report.delivered, report.requests), (3, 1));
    assert_eq!(host.exporter.stats().delivered, 10, "there was room for all");
}

#[wasm_bindgen_test(unsupported = test)]
fn its_own_records_go_first_and_it_does_not_wait_for_the_rest() {
    let mut settings = Settings::default();
    settings.batch_records = 4;
    let mut host = Host::with(settings, |_| status(200));
    for number in 1..=20 {
        host.push(record_of_trace(number, if number > 17 { 2 } else { 1 }));
    }
    let flush = host.begin_flush_of(3, of_traces(&[2]));
    let report = host.finish(flush);
    assert_eq!((report.delivered, report.requests), (3, 1));
    assert_eq!(host.requests[0].ids(), [18, 19, 20, 1], "and the oldest fills the batch");
    assert_eq!(host.exporter.stats().queued, 16);
    assert!(host.flush().ok);
    assert_eq!(host.requests[1].ids(), [2, 3, 4, 5], "the order of the rest has not changed");
}

#[wasm_bindgen_test(unsupported = test)]
fn it_waits_for_its_own_records_whoever_has_them_in_flight() {
    let mut host = Host::new(|_| status(200).after(millis(300)));
    host.push(record_of_trace(1, 1));
    host.push(record_of_trace(2, 2));
    let other = host.begin_flush(DEFAULT_BUDGET);
    host.push(record_of_trace(3, 3));
    let flush = host.begin_flush_of(1, of_traces(&[2]));
    let report = host.finish(flush);
    assert_eq!((report.delivered, report.requests), (1, 0));
    assert_eq!(host.exporter.stats().queued, 1, "of another trace, it stays for its own flush");
    assert!(host.finish(other).ok);
}

#[wasm_bindgen_test(unsupported = test)]
fn what_others_leave_undelivered_is_none_of_its_business() {
    let mut host = Host::new(|received| if received.ids().contains(&1) { status(400) } else { status(200) });
    host.push(record_of_trace(1, 1));
    host.push(record_of_trace(2, 2));
    let flush = host.begin_flush_of(1, of_traces(&[2]));
    let report = host.finish(flush);
    assert!(report.ok, "{report:?}");
    assert_eq!(report.delivered, 1);
}

#[wasm_bindgen_test(unsupported = test)]
fn it_covers_the_scores_of_its_traces() {
    let mut host = Host::new(|_| status(200));
    host.push(record_of_trace(1, 2));
    host.push(score_of_trace("quality", 2));
    host.push(score_of_trace("quality", 1));
    let flush = host.begin_flush_of(2, of_traces(&[2]));
    assert_eq!(host.finish(flush).delivered, 2);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_score_of_no_trace_is_in_no_scope() {
    let mut host = Host::new(|_| status(200));
    let body = r#"{"name":"quality","value":1,"sessionId":"s"}"#;
    let recorded = "2026-01-02T03:04:05.678Z";
    host.push(encode_score(&ScoreData { id: None, trace_id: None, body, environment: None, recorded }));
    let flush = host.begin_flush_of(0, of_traces(&[2]));
    assert_eq!(host.finish(flush).delivered, 0);
    assert!(host.flush().ok);
}

#[wasm_bindgen_test(unsupported = test)]
fn its_records_keep_their_order_also_around_a_large_one() {
    let mut settings = Settings::default();
    settings.batch_bytes = 1000;
    let mut host = Host::with(settings, |_| status(200));
    host.push(record_of_trace(1, 2));
    host.push(record_with_input(2, 5000));
    host.push(record_of_trace(3, 2));
    let flush = host.begin_flush(of_traces(&[2, 0xab]));
    assert_eq!(host.finish(flush).delivered, 3);
    let ids: Vec<_> = host.requests.iter().map(|request| request.ids()).collect();
    assert_eq!(ids, [[1], [2], [3]]);
}

#[wasm_bindgen_test(unsupported = test)]
fn one_flush_can_be_of_several_traces() {
    let mut host = Host::new(|_| status(503));
    for number in 1..=6 {
        host.push(record_of_trace(number, number as u8));
    }
    let mut settings = of_traces(&[2, 5]);
    settings.budget = secs(1);
    let flush = host.begin_flush_of(2, settings);
    assert_eq!(host.finish(flush).retained, 2);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_search_for_poison_that_it_has_no_time_to_end_leaves_no_records_that_travel_one_by_one() {
    for records in [512, 1024] {
        let mut host = Host::new(|received| {
            let is_refused = received.ids().contains(&2);
            status(if is_refused { 400 } else { 200 }).after(millis(300))
        });
        for number in 1..=records {
            host.push(record_of_trace(number, (number % 2) as u8 + 1));
        }
        let mut settings = of_traces(&[1]);
        settings.budget = secs(1);
        let flush = host.begin_flush_of(records / 2, settings);
        assert_eq!(host.finish(flush).retained, records / 2);
        let report = host.flush();
        assert_eq!((report.delivered, report.rejected.len()), (records - 1, 1));
        assert!(report.requests <= 25, "{} requests", report.requests);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_scoped_flush_with_nothing_to_cover_is_over_at_once() {
    let mut host = Host::new(|_| status(200));
    host.push(record_of_trace(1, 1));
    let flush = host.begin_flush_of(0, of_traces(&[2]));
    let report = host.finish(flush);
    assert!(report.ok);
    assert_eq!((report.delivered, host.requests.len()), (0, 0));
}

#[wasm_bindgen_test(unsupported = test)]
fn drops_that_nobody_has_told_of_wait_for_a_flush_of_everything() {
    let mut settings = Settings::default();
    settings.queue_records = 1;
    let mut host = Host::with(settings, |_| status(200));
    host.push(record_of_trace(1, 1));
    host.push(record_of_trace(2, 2));
    let flush = host.begin_flush_of(1, of_traces(&[2]));
    assert_eq!(host.finish(flush).dropped, 0);
    assert_eq!(host.flush().dropped, 1);
}

fn of_traces(traces: &[u8]) -> FlushSettings {
    let mut settings = FlushSettings::from(DEFAULT_BUDGET);
    settings.scope = Scope::Traces(traces.iter().map(|trace| trace_id(*trace)).collect());
    settings
}
