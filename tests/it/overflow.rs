use std::time::Duration;

use langfuse_edge::exporter::FlushSettings;
use wasm_bindgen_test::wasm_bindgen_test;

use crate::host::{Answer, DEFAULT_BUDGET, Host, Received, hang, millis, secs, status};
use crate::records::{record_with_input, score, small_record};

#[wasm_bindgen_test(unsupported = test)]
fn what_a_flush_cannot_deliver_is_handed_over_before_its_deadline() {
    let mut host = with_overflow(|_| hang());
    host.record(1..=40);
    let flush = host.begin_flush(overflowing(DEFAULT_BUDGET, 128_000));
    let report = host.finish(flush);
    assert_eq!((report.handed_over, report.retained, report.delivered, report.dropped), (40, 0, 0, 0));
    assert!(!report.ok, "handed over is not delivered");
    assert!(report.duration_ms <= 25_000);
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
