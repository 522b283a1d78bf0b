use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use langfuse_edge::exporter::{Pushed, Settings};
use langfuse_edge::{DropReason, FlushReport, Stats};
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
fn a_producer_that_is_faster_than_its_server_for_minutes_stays_below_the_bound_and_loses_what_is_counted() {
    const MINUTES: Duration = secs(180);
    let accepted = Rc::new(RefCell::new(Vec::new()));
    let at_server = Rc::clone(&accepted);
    // 3.5 MB in 8 s, of 1 MB per second. An answer that comes too late is as good as none.
    let mut host = Host::new(move |request| {
        let after = if request.at < MINUTES { secs(8) } else { millis(20) };
        if after <= request.timeout {
            at_server.borrow_mut().extend(request.ids());
        }
        status(200).after(after)
    });
    let check_bytes = |host: &Host| assert!(host.exporter.stats().bytes <= 16 * 1024 * 1024);
    let mut recorded = 0;
    let mut reports = Vec::new();
    let mut flush = host.begin_flush(DEFAULT_BUDGET);
    while host.now() < MINUTES {
        for _ in 0..2 {
            recorded += 1;
            host.push(record_with_input(recorded, 50_000));
            check_bytes(&host);
        }
        if !host.exporter.is_flushing() {
            reports.push(host.finish(flush));
            flush = host.begin_flush(DEFAULT_BUDGET);
        }
        check_bytes(&host);
        host.run_until(host.now() + millis(100));
        check_bytes(&host);
    }
    reports.push(host.finish(flush));
    let Stats { delivered, dropped, queued, leased, .. } = host.exporter.stats();
    assert_eq!(dropped, recorded - delivered - queued - leased);
    assert!(dropped > recorded / 3 && queued > 0, "{:?}", host.exporter.stats());

    reports.push(host.flush());

    let stats = host.exporter.stats();
    assert_eq!((stats.recorded, stats.queued, stats.leased, stats.bytes), (recorded, 0, 0, 0));
    assert_eq!((stats.dropped, stats.delivered), (dropped, recorded - dropped));
    let sum = |count: fn(&FlushReport) -> u64| reports.iter().map(count).sum::<u64>();
    assert_eq!(sum(|report| report.dropped), dropped);
    assert_eq!(sum(|report| report.drop_reasons.queue_full), dropped);
    let mut accepted = accepted.take();
    assert_eq!(accepted.len() as u64, stats.delivered);
    accepted.sort_unstable();
    accepted.dedup();
    assert_eq!(accepted.len() as u64, stats.delivered, "none came twice");
    assert!(accepted.ends_with(&[recorded - 1, recorded]), "the newest are the ones that are kept");
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
