use std::time::Duration;

use langfuse_edge::exporter::{Action, Exporter, FlushSettings, Scope, Settings};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::host::{Answer, DEFAULT_BUDGET, Host, Received, hang, millis, secs, status};
use crate::records::{START, record_of_trace, record_with_input, score, small_record, trace_id};

#[wasm_bindgen_test(unsupported = test)]
fn what_a_flush_cannot_deliver_is_handed_over_before_its_deadline() {
    let mut host = with_overflow(|_| hang());
    host.record(1..=40);
    let flush = host.begin_flush(overflowing(DEFAULT_BUDGET, 128_000));
    let report = host.finish(flush);
    assert_eq!((report.handed_over, report.retained, report.delivered, report.dropped), (40, 0, 0, 0));
    assert!(!report.ok, "handed over is not delivered");
    assert!(report.duration_ms <= 25_000);
    assert_eq!(report.attempts, host.requests.len() as u64, "the overflow is none of the server's requests");
    assert_eq!(host.handed_over[0].at, secs(23), "the server was given until then");
    let stats = host.exporter.stats();
    assert_eq!((stats.handed_over, stats.queued, stats.leased, stats.bytes), (40, 0, 0, 0));
}

#[wasm_bindgen_test(unsupported = test)]
fn the_overflow_gets_messages_within_its_limit_of_both_kinds() {
    let mut host = with_overflow(|_| status(503).retry_after("60"));
    for number in 1..=20 {
        host.push(record_with_input(number, 20_000));
    }
    host.push(score("quality"));
    let flush = host.begin_flush(overflowing(DEFAULT_BUDGET, 100_000));
    let report = host.finish(flush);
    assert_eq!((report.handed_over, report.retained), (21, 0));
    assert!(host.handed_over.iter().all(|message| message.body.len() <= 100_000));
    let ids: Vec<_> = host.handed_over.iter().take(5).flat_map(Received::ids).collect();
    assert_eq!(ids, (1..=20).collect::<Vec<_>>());
    assert_eq!(host.handed_over[5].names(), ["quality"]);
    assert!(report.duration_ms < 1000, "no time is left to the server that has asked to be left alone");
}

#[wasm_bindgen_test(unsupported = test)]
fn a_message_to_the_overflow_is_as_full_as_its_limit_and_that_of_requests_allow() {
    let mut settings = Settings::default();
    settings.batch_records = 10;
    let mut host = Host::with(settings, |_| status(401));
    host.has_overflow = true;
    host.record(1..=25);
    let flush = host.begin_flush(overflowing(DEFAULT_BUDGET, 128_000));
    assert_eq!(host.finish(flush).handed_over, 25);
    let sizes: Vec<_> = host.handed_over.iter().map(|message| message.ids().len()).collect();
    assert_eq!(sizes, [10, 10, 5]);

    let three = host.handed_over[0].body.len() * 3 / 10;
    for bytes in three..three + 150 {
        host.handed_over.clear();
        host.record(1..=10);
        let flush = host.begin_flush(overflowing(DEFAULT_BUDGET, bytes));
        assert_eq!(host.finish(flush).handed_over, 10);
        assert!(host.handed_over.iter().all(|message| message.body.len() <= bytes));
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn what_is_delivered_is_not_handed_over() {
    let mut host = with_overflow(|_| status(200));
    host.record(1..=40);
    let flush = host.begin_flush(overflowing(DEFAULT_BUDGET, 128_000));
    assert!(host.finish(flush).ok);
    assert_eq!(host.handed_over.len(), 0);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_record_too_large_for_the_overflow_is_retained_and_holds_up_no_other() {
    let mut host = with_overflow(|_| status(401));
    host.push(record_with_input(1, 200_000));
    host.record(2..=5);
    let flush = host.begin_flush(overflowing(DEFAULT_BUDGET, 128_000));
    let report = host.finish(flush);
    assert_eq!((report.handed_over, report.retained), (4, 1));
}

#[wasm_bindgen_test(unsupported = test)]
fn a_scoped_flush_hands_over_no_record_of_another_trace() {
    let mut host = with_overflow(|_| status(401));
    host.push(record_of_trace(1, 1));
    host.push(record_of_trace(2, 2));
    host.push(record_of_trace(3, 1));
    let mut settings = overflowing(DEFAULT_BUDGET, 128_000);
    settings.scope = Scope::Traces(vec![trace_id(1)]);
    let flush = host.begin_flush_of(2, settings);
    assert_eq!(host.finish(flush).handed_over, 2);
    assert_eq!(host.handed_over[0].ids(), [1, 3]);
    assert_eq!(host.exporter.stats().queued, 1);
}

#[wasm_bindgen_test(unsupported = test)]
fn when_the_overflow_refuses_the_rest_is_retained() {
    let mut host = with_overflow(|_| status(401));
    host.has_overflow = false;
    host.record(1..=5);
    let flush = host.begin_flush(overflowing(DEFAULT_BUDGET, 128_000));
    let report = host.finish(flush);
    assert_eq!((report.handed_over, report.retained, host.handed_over.len()), (0, 5, 1));
    assert_eq!(host.exporter.stats().queued, 5);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_short_flush_still_asks_the_server_first() {
    let mut host = with_overflow(|_| status(200).after(millis(500)));
    host.push(small_record(1));
    let flush = host.begin_flush(overflowing(secs(1), 128_000));
    assert!(host.finish(flush).ok);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_pause_of_the_server_is_not_cut_short_by_what_the_overflow_says() {
    let mut host = with_overflow(|_| status(429).retry_after("10"));
    host.record(1..=2);
    let flush = host.begin_flush(overflowing(secs(5), 128_000));
    assert_eq!(host.finish(flush).handed_over, 2);
    host.record(3..=3);
    let flush = host.begin_flush(overflowing(secs(5), 128_000));
    assert_eq!(host.finish(flush).handed_over, 1);
    assert_eq!(host.requests.len(), 1);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_pause_into_the_time_of_the_overflow_is_not_waited_for() {
    let mut host = with_overflow(|_| status(503).retry_after("24"));
    host.record(1..=5);
    let flush = host.begin_flush(overflowing(DEFAULT_BUDGET, 128_000));
    let report = host.finish(flush);
    assert_eq!((report.handed_over, report.requests), (5, 1));
    assert!(report.duration_ms < 1000, "{} ms", report.duration_ms);
}

#[wasm_bindgen_test(unsupported = test)]
fn what_waits_is_handed_over_though_another_flush_has_a_request_in_flight() {
    let mut settings = Settings::default();
    settings.attempt_timeout = secs(60);
    let mut host = Host::with(settings, |received| if received.at < secs(1) { hang() } else { status(503) });
    host.has_overflow = true;
    host.record(1..=2);
    let other = host.begin_flush(secs(60));
    host.run_until(secs(2));
    host.record(3..=5);
    let flush = host.begin_flush(overflowing(DEFAULT_BUDGET, 128_000));
    let report = host.finish(flush);
    assert_eq!((report.handed_over, report.retained), (3, 2));
    assert_eq!(host.handed_over[0].at, secs(2) + secs(23), "all of its time is left to the overflow");
    host.kill(other);
}

#[wasm_bindgen_test(unsupported = test)]
fn nothing_is_handed_over_while_the_flush_has_a_request_in_flight() {
    let mut settings = Settings::default();
    settings.batch_records = 1;
    let mut exporter = Exporter::new(settings);
    exporter.push(small_record(1), START);
    exporter.push(small_record(2), START);
    let flush = exporter.begin_flush(overflowing(secs(10), 128_000), START);
    let Action::Send(request) = exporter.poll(flush, START) else { panic!("there are records to send") };
    assert_eq!(request.timeout, secs(8));
    let late = START + secs(9);
    assert!(matches!(exporter.poll(flush, late), Action::WaitUntil(_)));
    exporter.handle_response(request.lease, &status(503).outcome, late);
    let Action::HandOver(request) = exporter.poll(flush, late) else {
        panic!("the overflow's time has come")
    };
    assert_eq!(request.timeout, secs(1));
}

#[wasm_bindgen_test(unsupported = test)]
fn what_the_overflow_refuses_cannot_have_arrived() {
    let mut settings = Settings::default();
    settings.gives_up_ambiguous = true;
    let mut host = Host::with(settings, |_| status(401));
    host.record(1..=5);
    let flush = host.begin_flush(overflowing(DEFAULT_BUDGET, 128_000));
    let report = host.finish(flush);
    assert_eq!((report.retained, report.dropped), (5, 0));
}

fn with_overflow(server: impl FnMut(&Received) -> Answer + 'static) -> Host {
    let mut host = Host::new(server);
    host.has_overflow = true;
    host
}

fn overflowing(budget: Duration, bytes: usize) -> FlushSettings {
    let mut settings = FlushSettings::from(budget);
    settings.overflow_bytes = Some(bytes);
    settings
}
