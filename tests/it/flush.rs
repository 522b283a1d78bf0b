use std::time::Duration;

use langfuse_edge::FlushReport;
use langfuse_edge::exporter::{Action, Exporter, FlushId, FlushSettings, Settings};
use langfuse_edge::retry::Outcome;
use wasm_bindgen_test::wasm_bindgen_test;

use crate::host::{Answer, DEFAULT_BUDGET, Host, hang, millis, refused, reset, secs, status};
use crate::records::{START, record_with_input, small_record};

#[wasm_bindgen_test(unsupported = test)]
fn a_flush_of_nothing_is_done_at_once() {
    let mut host = Host::new(|_| status(200));
    assert_eq!(host.flush(), FlushReport::nothing_to_do());
    assert!(host.requests.is_empty());
}

#[wasm_bindgen_test(unsupported = test)]
fn forty_records_travel_in_one_request() {
    let mut host = Host::new(|_| status(200));
    host.record(1..=40);
    let report = host.flush();
    assert!(report.ok);
    assert_eq!((report.delivered, report.requests, report.attempts, report.ambiguous), (40, 1, 1, 0));
    assert_eq!(report.duration_ms, 5);
    assert_eq!(report.bytes, host.requests[0].body.len() as u64);
    assert_eq!(host.requests.len(), 1);
    assert_eq!(host.requests[0].ids(), (1..=40).collect::<Vec<_>>());
    assert_eq!(host.exporter.stats().bytes, 0);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_request_has_at_most_512_records() {
    let mut host = Host::new(|_| status(200));
    host.record(1..=1025);
    assert_eq!(host.flush().delivered, 1025);
    let sizes: Vec<_> = host.requests.iter().map(|request| request.ids().len()).collect();
    assert_eq!(sizes, [512, 512, 1]);
    let ids: Vec<_> = host.requests.iter().flat_map(|request| request.ids()).collect();
    assert_eq!(ids, (1..=1025).collect::<Vec<_>>());
}

#[wasm_bindgen_test(unsupported = test)]
fn a_request_has_at_most_three_and_a_half_million_bytes_and_makes_use_of_them() {
    let mut host = Host::new(|_| status(200));
    for number in 1..=40 {
        host.push(record_with_input(number, 200_000));
    }
    assert_eq!(host.flush().delivered, 40);
    assert_eq!(host.requests.len(), 3);
    assert!(host.requests.iter().all(|request| request.body.len() <= 3_500_000));
    assert!(host.requests[0].body.len() > 3_300_000);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_record_larger_than_a_batch_travels_alone() {
    let mut settings = Settings::default();
    settings.batch_bytes = 10_000;
    let mut host = Host::with(settings, |_| status(200));
    host.push(small_record(1));
    host.push(record_with_input(2, 20_000));
    host.push(small_record(3));
    assert_eq!(host.flush().delivered, 3);
    let ids: Vec<_> = host.requests.iter().map(|request| request.ids()).collect();
    assert_eq!(ids, [[1], [2], [3]]);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_batch_that_another_flush_has_in_flight_is_waited_for() {
    let mut host = Host::new(|_| status(200).after(millis(300)));
    host.record(1..=20);
    let first = host.begin_flush(DEFAULT_BUDGET);
    host.run_until(millis(60));
    let second = host.flush();
    assert!(host.now() >= millis(300), "done at {:?}, before the answer came", host.now());
    assert!(host.now() <= millis(400), "done at {:?}, long after the answer came", host.now());
    assert!(second.ok);
    assert_eq!((second.delivered, second.requests, second.attempts, second.bytes), (20, 0, 0, 0));
    assert_eq!(host.finish(first).delivered, 20);
    assert_eq!(host.requests.len(), 1);
}

#[wasm_bindgen_test(unsupported = test)]
fn what_does_not_take_long_is_not_waited_for_long() {
    let mut host = Host::new(|_| status(200).after(millis(50)));
    host.record(1..=20);
    let first = host.begin_flush(DEFAULT_BUDGET);
    host.run_until(millis(10));
    assert!(host.flush().ok);
    assert!(host.now() <= millis(60), "{:?}", host.now());
    assert!(host.finish(first).ok);
}

#[wasm_bindgen_test(unsupported = test)]
fn records_recorded_during_a_flush_belong_to_the_next() {
    let mut host = Host::new(|_| status(200).after(millis(300)));
    host.record(1..=5);
    let first = host.begin_flush(DEFAULT_BUDGET);
    host.run_until(millis(100));
    host.record(6..=8);
    let first = host.finish(first);
    assert_eq!((first.delivered, first.requests), (5, 1));
    assert_eq!(host.exporter.stats().queued, 3);
    assert_eq!(host.flush().delivered, 3);
    assert_eq!(host.requests[1].ids(), [6, 7, 8]);
}

#[wasm_bindgen_test(unsupported = test)]
fn overlapping_flushes_send_their_own_parts_and_both_report_truthfully() {
    let mut host = Host::new(|_| status(200).after(millis(300)));
    host.record(1..=10);
    let first = host.begin_flush(DEFAULT_BUDGET);
    host.run_until(millis(20));
    host.record(11..=20);
    let second = host.begin_flush(DEFAULT_BUDGET);
    assert_eq!(host.requests[1].at, millis(20), "nobody waits for another's answer before sending");
    assert_eq!(host.requests[1].ids(), (11..=20).collect::<Vec<_>>());
    let first = host.finish(first);
    assert_eq!((first.delivered, first.attempts, first.duration_ms), (10, 1, 300));
    let second = host.finish(second);
    assert_eq!((second.delivered, second.attempts, second.duration_ms), (20, 1, 300));
    assert_eq!(host.requests.len(), 2);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_hanging_server_ends_in_retained_and_the_next_flush_delivers() {
    let mut host = Host::new(|request| if request.at < secs(6) { hang() } else { status(200) });
    host.record(1..=40);
    let report = host.flush_within(secs(5));
    assert!(!report.ok);
    assert_eq!((report.delivered, report.retained), (0, 40));
    assert_eq!((report.requests, report.attempts, report.ambiguous), (0, 1, 1));
    assert!(report.duration_ms <= 5000);
    host.run_until(secs(6));
    let report = host.flush_within(secs(5));
    assert!(report.ok);
    assert_eq!((report.delivered, report.duration_ms), (40, 5));
}

#[wasm_bindgen_test(unsupported = test)]
fn with_default_settings_a_hanging_server_holds_a_flush_until_its_deadline_and_loses_nothing() {
    // On wasm and natively.
    for budget in [secs(25), secs(30)] {
        let mut host = Host::new(move |request| if request.at < budget { hang() } else { status(200) });
        host.record(1..=600);
        let report = host.flush_within(budget);
        assert_eq!((report.ok, report.delivered, report.retained, report.dropped), (false, 0, 600, 0));
        assert!(budget - millis(20) <= host.now() && host.now() <= budget, "{:?}", host.now());
        assert_eq!((report.requests, report.ambiguous), (0, report.attempts));

        let next = host.flush_within(budget);
        assert_eq!((next.ok, next.delivered, next.retained, next.dropped), (true, 600, 0, 0));
        assert!(next.duration_ms < 10_000, "{} ms", next.duration_ms);
        assert_eq!(host.exporter.stats().delivered, 600);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn an_attempt_may_take_no_longer_than_the_flush() {
    let mut host = Host::new(|_| hang());
    host.record(1..=1);
    let report = host.flush();
    assert_eq!(report.retained, 1);
    assert!(host.now() <= DEFAULT_BUDGET, "{:?}", host.now());
    let timeouts: Vec<_> = host.requests.iter().map(|request| request.timeout).collect();
    assert_eq!(timeouts[..2], [secs(10), secs(10)]);
    let last = &host.requests[2];
    assert!(last.timeout < secs(5));
    assert_eq!(last.at + last.timeout, DEFAULT_BUDGET);
    assert_eq!(timeouts.len(), 3);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_report_says_what_the_server_last_answered_when_not_all_is_well() {
    for (trouble, said) in [(401, Some(401)), (301, Some(301)), (503, Some(503)), (400, None)] {
        let mut host = Host::new(move |_| status(trouble));
        host.record(1..=3);
        assert_eq!(host.flush_within(secs(1)).last_status, said, "{trouble}");
    }
    for gives_no_answer in [reset, refused, hang] {
        let mut host = Host::new(move |_| gives_no_answer());
        host.record(1..=3);
        assert_eq!(host.flush_within(secs(1)).last_status, Some(0));
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_report_says_it_too_when_the_server_was_asked_by_an_earlier_flush_and_no_longer_once_it_is_well() {
    let mut host = Host::new(|request| if request.at < secs(20) { status(401) } else { status(200) });
    host.record(1..=1);
    host.flush();
    let report = host.flush();
    assert_eq!((report.retained, report.attempts, report.last_status), (1, 0, Some(401)));
    host.run_until(secs(35));
    let report = host.flush();
    assert_eq!((report.ok, report.last_status), (true, None));
    host.record(2..=2);
    assert_eq!(host.flush_within(Duration::ZERO).last_status, None, "the server was not asked");
}

#[wasm_bindgen_test(unsupported = test)]
fn what_a_shutdown_drops_has_a_reason_as_well() {
    let mut host = Host::new(|_| status(403));
    host.record(1..=2);
    let flush = host.begin_flush(FlushSettings::last(secs(1)));
    let report = host.finish(flush);
    assert_eq!((report.dropped, report.last_status), (2, Some(403)));
    assert_eq!(
        report.to_string(),
        "0 delivered, 0 rejected, 0 retained, 2 dropped: the server answers 403: check the keys and the base URL"
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn a_flush_without_time_sends_nothing_and_says_what_it_retained() {
    let mut host = Host::new(|_| status(200));
    host.record(1..=3);
    let report = host.flush_within(Duration::ZERO);
    assert_eq!((report.retained, report.attempts), (3, 0));
    assert!(host.requests.is_empty());
}

#[wasm_bindgen_test(unsupported = test)]
fn no_request_begins_in_the_last_moment_of_a_flush() {
    for (moment, is_sent) in [(millis(80), true), (millis(81), false), (millis(100), false)] {
        let mut exporter = Exporter::new(Settings::default());
        exporter.push(small_record(1), START);
        let flush = exporter.begin_flush(millis(100), START);
        match exporter.poll(flush, START + moment) {
            Action::Send(request) => assert!(is_sent && request.timeout == millis(20), "{request:?}"),
            other => assert!(!is_sent && done(other).retained == 1),
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_failed_attempt_is_made_again_with_the_same_bytes() {
    for failure in [|| status(503), || status(500), reset] {
        let mut failures = vec![failure];
        let mut host = Host::new(move |_| {
            failures.pop().map_or_else(|| status(200), |failure: fn() -> Answer| failure())
        });
        host.record(1..=40);
        let report = host.flush();
        assert!(report.ok);
        assert_eq!((report.delivered, report.attempts), (40, 2));
        assert_eq!(report.requests + report.ambiguous, 2);
        assert_eq!(report.bytes, 2 * host.requests[0].body.len() as u64);
        assert!(host.requests[0].body == host.requests[1].body);
        assert!(host.now() < secs(1));
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_limit_of_no_records_sends_them_one_by_one() {
    let mut settings = Settings::default();
    settings.batch_records = 0;
    let mut host = Host::with(settings, |_| status(200));
    host.record(1..=3);
    assert_eq!(host.flush().delivered, 3);
    let ids: Vec<_> = host.requests.iter().map(|request| request.ids()).collect();
    assert_eq!(ids, [[1], [2], [3]]);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_burst_of_five_thousand_is_delivered_by_one_flush() {
    let mut host = Host::new(|_| status(200).after(millis(20)));
    host.record(1..=5000);
    let report = host.flush();
    assert!(report.ok);
    assert_eq!((report.delivered, report.requests), (5000, 10));
}

#[wasm_bindgen_test(unsupported = test)]
fn a_flush_that_is_over_or_unknown_is_done_at_once() {
    let mut exporter = Exporter::new(Settings::default());
    exporter.push(small_record(1), START);
    let flush = exporter.begin_flush(Duration::ZERO, START);
    assert_eq!(done(exporter.poll(flush, START)).retained, 1);
    for over in [flush, FlushId::from_f64(99.0), FlushId::from_f64(f64::NAN)] {
        assert_eq!(done(exporter.poll(over, START)), FlushReport::nothing_to_do());
    }
    assert_eq!(exporter.stats().queued, 1);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_flush_is_under_way_from_its_beginning_to_its_report() {
    let mut exporter = Exporter::new(Settings::default());
    assert!(!exporter.is_flushing());
    let flush = exporter.begin_flush(secs(1), START);
    assert!(exporter.is_flushing());
    done(exporter.poll(flush, START));
    assert!(!exporter.is_flushing());
}

#[wasm_bindgen_test(unsupported = test)]
fn polling_too_early_does_no_harm() {
    let mut exporter = Exporter::new(Settings::default());
    exporter.push(small_record(1), START);
    let flush = exporter.begin_flush(DEFAULT_BUDGET, START);
    let Action::Send(request) = exporter.poll(flush, START) else { panic!("there is a record to send") };
    // In flight.
    for early in 0..100 {
        assert!(matches!(exporter.poll(flush, START + millis(early)), Action::WaitUntil(_)));
    }
    let failed = START + millis(100);
    exporter.handle_response(request.lease, &Outcome::Failed { ambiguous: false }, failed);
    // Between two attempts.
    let Action::WaitUntil(due) = exporter.poll(flush, failed) else {
        panic!("a failure is followed by a pause")
    };
    for early in 0..10 {
        let Action::WaitUntil(again) = exporter.poll(flush, failed + millis(early)) else {
            panic!("it is not due yet")
        };
        assert_eq!(again, due);
    }
    let Action::Send(request) = exporter.poll(flush, due) else { panic!("it is due") };
    let delivered =
        Outcome::Response { status: 200, retry_after: None, message: String::new(), verdicts: Vec::new() };
    exporter.handle_response(request.lease, &delivered, due);
    exporter.handle_response(request.lease, &delivered, due);
    let report = done(exporter.poll(flush, due));
    assert_eq!((report.delivered, report.attempts, report.requests, report.ambiguous), (1, 2, 1, 0));
    assert_eq!(exporter.stats().delivered, 1);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_flush_has_one_request_in_flight_however_often_it_is_polled() {
    let mut settings = Settings::default();
    settings.batch_records = 1;
    let mut exporter = Exporter::new(settings);
    exporter.push(small_record(1), START);
    exporter.push(small_record(2), START);
    let flush = exporter.begin_flush(DEFAULT_BUDGET, START);
    let Action::Send(_) = exporter.poll(flush, START) else { panic!("there are records to send") };
    let Action::WaitUntil(time) = exporter.poll(flush, START) else {
        panic!("the second request waits for the first one's answer")
    };
    assert!(time > START);
    // Another flush has a request of its own.
    let other = exporter.begin_flush(DEFAULT_BUDGET, START);
    assert!(matches!(exporter.poll(other, START), Action::Send(_)));
}

#[wasm_bindgen_test(unsupported = test)]
fn a_flush_that_gets_on_makes_as_many_requests_as_it_takes() {
    let mut settings = Settings::default();
    settings.batch_records = 1;
    let mut host = Host::with(settings, |_| status(200));
    host.record(1..=100);
    let report = host.flush();
    assert_eq!((report.delivered, report.requests), (100, 100));
}

fn done(action: Action) -> FlushReport {
    match action {
        Action::Done(report) => report,
        other => panic!("the flush is over, but it says {other:?}"),
    }
}
