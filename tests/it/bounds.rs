use langfuse_edge::DropReason;
use langfuse_edge::exporter::{Pushed, Settings};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::host::{DEFAULT_BUDGET, Host, Received, millis, secs, status};
use crate::records::{record_with_input, score, small_record};

#[wasm_bindgen_test(unsupported = test)]
fn above_the_count_the_oldest_records_go_first() {
    let mut host = Host::with(at_most_records(10), |_| status(200));
    for number in 1..=15 {
        assert_eq!(host.push(small_record(number)), Pushed::Queued);
        assert_eq!(host.exporter.stats().queued, number.min(10));
    }
    assert_eq!(host.exporter.stats().dropped, 5);
    assert_eq!(host.flush().delivered, 10);
    assert_eq!(host.requests[0].ids(), (6..=15).collect::<Vec<_>>());
}

#[wasm_bindgen_test(unsupported = test)]
fn above_the_bytes_the_oldest_records_go_first() {
    let mut settings = Settings::default();
    settings.queue_bytes = 100_000;
    let mut host = Host::with(settings, |_| status(200));
    for number in 1..=10 {
        host.push(record_with_input(number, 24_000));
        assert!(host.exporter.stats().bytes <= 100_000);
    }
    assert_eq!((host.exporter.stats().queued, host.exporter.stats().dropped), (4, 6));
    // One large record takes the place of as many small ones as it needs.
    host.push(record_with_input(11, 50_000));
    assert_eq!(host.exporter.stats().queued, 3);
    assert_eq!(host.flush().retained, 0);
    assert_eq!(host.requests[0].ids(), [9, 10, 11]);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_flush_tells_which_of_its_records_were_dropped_and_why() {
    let mut settings = at_most_records(10);
    settings.batch_records = 4;
    let mut host = Host::with(settings, |_| status(200).after(millis(300)));
    host.record(1..=10);
    let flush = host.begin_flush(DEFAULT_BUDGET);
    host.run_until(millis(100));
    // Four are in flight and stay; the three oldest of the others go.
    host.record(11..=13);
    let report = host.finish(flush);
    assert!(!report.ok);
    assert_eq!((report.delivered, report.dropped, report.retained), (7, 3, 0));
    assert_eq!(report.drop_reasons.queue_full, 3);
    assert_eq!(report.drop_reasons.iter().collect::<Vec<_>>(), [("queue_full", 3)]);
    let ids: Vec<_> = host.requests.iter().flat_map(|request| request.ids()).collect();
    assert_eq!(ids[..7], [1, 2, 3, 4, 8, 9, 10]);
}

#[wasm_bindgen_test(unsupported = test)]
fn what_was_dropped_before_a_flush_is_in_its_report_and_in_no_later_one() {
    let mut host = Host::with(at_most_records(10), |_| status(200));
    host.record(1..=13);

    let first = host.flush();
    let second = host.flush();

    assert_eq!((first.ok, first.delivered, first.dropped), (false, 10, 3));
    assert_eq!((second.ok, second.dropped), (true, 0));
}

#[wasm_bindgen_test(unsupported = test)]
fn what_was_dropped_during_a_flush_whose_driver_died_is_in_a_later_report() {
    let is_down = |request: &Received| request.at < millis(10);
    let mut host =
        Host::with(at_most_records(10), move |request| status(if is_down(request) { 503 } else { 200 }));
    host.record(1..=10);
    let dead = host.begin_flush(secs(1));
    host.run_until(millis(20));
    host.kill(dead);
    host.record(11..=13);

    host.run_until(secs(5));
    let while_it_may_still_wake = host.flush();
    host.run_until(secs(40));
    let when_it_is_forgotten = host.flush();

    assert_eq!((while_it_may_still_wake.delivered, while_it_may_still_wake.dropped), (10, 0));
    assert_eq!((when_it_is_forgotten.delivered, when_it_is_forgotten.dropped), (0, 3));
    assert_eq!(host.flush().dropped, 0);
}

#[wasm_bindgen_test(unsupported = test)]
fn records_in_flight_are_never_dropped() {
    let mut host = Host::with(at_most_records(10), |_| status(200).after(millis(300)));
    host.record(1..=10);
    let flush = host.begin_flush(DEFAULT_BUDGET);
    for number in 11..=15 {
        assert_eq!(host.push(small_record(number)), Pushed::Dropped(DropReason::QueueFull));
    }
    let stats = host.exporter.stats();
    assert_eq!((stats.leased, stats.queued, stats.dropped), (10, 0, 5));
    let report = host.finish(flush);
    assert!(report.ok, "what came later is none of this flush's business");
    assert_eq!(report.delivered, 10);
    assert_eq!(host.push(small_record(16)), Pushed::Queued);
}

#[wasm_bindgen_test(unsupported = test)]
fn records_that_come_back_from_a_failure_are_the_oldest_again() {
    let mut host = Host::with(at_most_records(10), |request| {
        if request.at < secs(1) { status(429).retry_after("5") } else { status(200) }
    });
    host.record(1..=6);
    assert_eq!(host.flush_within(secs(1)).retained, 6);
    host.record(7..=13);
    assert_eq!(host.exporter.stats().dropped, 3);
    assert_eq!(host.flush().retained, 0);
    assert_eq!(host.requests[1].ids(), (4..=13).collect::<Vec<_>>());
}

#[wasm_bindgen_test(unsupported = test)]
fn the_bounds_of_an_isolate_are_16_mib_and_100_000_records() {
    let settings = Settings::default();
    assert_eq!((settings.queue_bytes, settings.queue_records), (16 * 1024 * 1024, 100_000));
    let mut host = Host::new(|_| status(200));
    for number in 1..=40 {
        host.push(record_with_input(number, 1024 * 1024));
    }
    let stats = host.exporter.stats();
    assert_eq!(stats.queued, 15);
    assert!(stats.bytes <= 16 * 1024 * 1024);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_record_too_large_for_the_queue_pushes_nothing_else_out() {
    let mut settings = Settings::default();
    settings.queue_bytes = 100_000;
    let mut host = Host::with(settings, |_| status(200).after(millis(300)));
    host.record(1..=10);
    assert_eq!(host.push(record_with_input(11, 100_001)), Pushed::Dropped(DropReason::QueueFull));
    assert_eq!((host.exporter.stats().queued, host.exporter.stats().dropped), (10, 1));
    // The same when what is in flight leaves too little room.
    host.push(record_with_input(12, 60_000));
    let flush = host.begin_flush(DEFAULT_BUDGET);
    host.record(13..=20);
    assert_eq!(host.push(record_with_input(21, 60_000)), Pushed::Dropped(DropReason::QueueFull));
    assert_eq!((host.exporter.stats().queued, host.exporter.stats().dropped), (8, 2));
    assert_eq!(host.finish(flush).delivered, 11);
    assert_eq!(host.flush().delivered, 8);
}

#[wasm_bindgen_test(unsupported = test)]
fn the_oldest_go_first_whether_observations_or_scores() {
    let mut host = Host::with(at_most_records(3), |_| status(200));
    host.push(score("first"));
    host.record(2..=2);
    host.push(score("third"));
    host.record(4..=5);
    let report = host.flush();
    assert_eq!((report.delivered, report.dropped), (3, 2));
    assert_eq!((host.requests[0].ids(), host.requests[1].names()), (vec![4, 5], vec!["third".to_owned()]));
}

fn at_most_records(queue_records: usize) -> Settings {
    let mut settings = Settings::default();
    settings.queue_records = queue_records;
    settings
}
