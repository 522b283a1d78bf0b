use std::time::Duration;

use langfuse_edge::exporter::{Action, Exporter, LeaseId, Settings};
use langfuse_edge::retry::Outcome;
use langfuse_edge::{FlushReport, Timestamp};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::host::{DEFAULT_BUDGET, Host, hang, millis, secs, status};
use crate::records::{START, small_record};

/// The timeout of an attempt, and what a driver gets beyond it.
const LEASE: Duration = secs(12);
const AN_HOUR: Duration = secs(3600);

#[wasm_bindgen_test(unsupported = test)]
fn the_next_flush_sends_the_batch_of_a_flusher_that_died_when_its_lease_expires() {
    let mut host = Host::new(|_| status(200));
    host.record(1..=20);
    let dead = host.begin_flush(DEFAULT_BUDGET);
    host.kill(dead);
    host.run_until(secs(1));
    let report = host.flush();
    assert!(report.ok);
    assert_eq!((report.delivered, report.attempts), (20, 1));
    let [first, second] = &host.requests[..] else { panic!("the dead one's request and another") };
    assert!(second.at >= LEASE, "a lease is not taken from the living: {:?}", second.at);
    assert!(second.at <= LEASE + millis(250), "{:?}", second.at);
    assert!(first.body == second.body);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_flush_long_after_anothers_death_waits_for_nothing() {
    let mut host = Host::new(|_| status(200));
    host.record(1..=20);
    let dead = host.begin_flush(DEFAULT_BUDGET);
    host.kill(dead);
    host.run_until(AN_HOUR);
    let report = host.flush();
    assert!(report.ok);
    assert_eq!((report.delivered, report.duration_ms), (20, 5));
    assert!(host.requests[0].body == host.requests[1].body);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_flush_shorter_than_the_dead_ones_lease_retains() {
    let mut host = Host::new(|_| status(200));
    host.record(1..=20);
    let dead = host.begin_flush(DEFAULT_BUDGET);
    host.kill(dead);
    host.record(21..=25);
    let report = host.flush_within(secs(5));
    assert_eq!((report.delivered, report.retained), (5, 20));
    assert_eq!(host.flush().delivered, 20);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_late_success_settles_what_is_back_in_the_queue() {
    let (mut exporter, lease) = exporter_with_expired_lease();
    exporter.handle_response(lease, &response(200), START + LEASE);
    let stats = exporter.stats();
    assert_eq!((stats.delivered, stats.queued, stats.leased, stats.bytes), (20, 0, 0, 0));
    let flush = exporter.begin_flush(DEFAULT_BUDGET, START + LEASE);
    let Action::Done(report) = exporter.poll(flush, START + LEASE) else { panic!("nothing is left to send") };
    assert_eq!(report, FlushReport::nothing_to_do());
}

#[wasm_bindgen_test(unsupported = test)]
fn a_late_success_is_counted_by_the_flush_that_waits() {
    let (mut exporter, lease) = exporter_with_expired_lease();
    let flush = exporter.begin_flush(DEFAULT_BUDGET, START + LEASE);
    exporter.handle_response(lease, &response(200), START + LEASE);
    let Action::Done(report) = exporter.poll(flush, START + LEASE) else { panic!("nothing is left to send") };
    assert_eq!((report.delivered, report.attempts, report.ok), (20, 0, true));
}

#[wasm_bindgen_test(unsupported = test)]
fn a_late_success_of_what_is_in_flight_again_is_not_counted_twice() {
    let (mut exporter, lease) = exporter_with_expired_lease();
    let now = START + LEASE;
    let flush = exporter.begin_flush(DEFAULT_BUDGET, now);
    let Action::Send(again) = exporter.poll(flush, now) else { panic!("the records are back") };
    exporter.handle_response(lease, &response(200), now);
    assert_eq!(exporter.stats().leased, 20);
    exporter.handle_response(again.lease, &response(200), now);
    assert_eq!((exporter.stats().delivered, exporter.stats().leased), (20, 0));
    let Action::Done(report) = exporter.poll(flush, now) else { panic!("all is delivered") };
    assert_eq!(report.delivered, 20);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_late_failure_changes_nothing() {
    let late = [400, 401, 413, 429, 503].map(response);
    for outcome in late.into_iter().chain([Outcome::Failed { ambiguous: true }]) {
        let (mut exporter, lease) = exporter_with_expired_lease();
        let before = exporter.stats();
        exporter.handle_response(lease, &outcome, START + LEASE);
        assert_eq!(exporter.stats(), before);
        let flush = exporter.begin_flush(DEFAULT_BUDGET, START + LEASE);
        let Action::Send(_) = exporter.poll(flush, START + LEASE) else {
            panic!("{outcome:?} of an expired lease stops nobody")
        };
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn the_success_of_a_request_that_nobody_sent_settles_nothing() {
    let mut exporter = Exporter::new(Settings::default());
    exporter.push(small_record(1), START);
    for number in [0.0, 1.0, f64::NAN] {
        exporter.handle_response(LeaseId::from_f64(number), &response(200), START);
        assert_eq!((exporter.stats().queued, exporter.stats().delivered), (1, 0), "lease {number}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn an_expired_lease_is_told_by_its_own_flush() {
    let mut exporter = Exporter::new(Settings::default());
    exporter.push(small_record(1), START);
    let flush = exporter.begin_flush(DEFAULT_BUDGET, START);
    let Action::Send(_) = exporter.poll(flush, START) else { panic!("there is a record to send") };
    let Action::Send(again) = exporter.poll(flush, START + LEASE) else { panic!("the record is back") };
    exporter.handle_response(again.lease, &response(200), START + LEASE);
    let Action::Done(report) = exporter.poll(flush, START + LEASE) else { panic!("it is delivered") };
    assert_eq!((report.attempts, report.requests, report.ambiguous), (2, 1, 1));
}

#[wasm_bindgen_test(unsupported = test)]
fn a_lease_does_not_last_an_hour_longer_when_the_clock_is_set_back_by_one() {
    let mut host = Host::new(|_| status(200));
    host.record(1..=20);
    let dead = host.begin_flush(DEFAULT_BUDGET);
    host.kill(dead);
    host.run_until(secs(1));
    host.set_clock_back(AN_HOUR);
    let report = host.flush();
    assert!(report.ok);
    assert!(host.requests[1].at <= LEASE + secs(2), "{:?}", host.requests[1].at);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_deadline_does_not_come_an_hour_later_when_the_clock_is_set_back_by_one() {
    let mut host = Host::new(|_| status(503));
    host.record(1..=20);
    let flush = host.begin_flush(DEFAULT_BUDGET);
    host.run_until(secs(2));
    host.set_clock_back(AN_HOUR);
    let report = host.finish(flush);
    assert_eq!(report.retained, 20);
    assert!(host.now() <= DEFAULT_BUDGET + secs(12), "{:?}", host.now());
    assert!(report.attempts < 30, "{} attempts", report.attempts);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_pause_does_not_last_an_hour_longer_when_the_clock_is_set_back_by_one() {
    let mut host =
        Host::new(|request| if request.at < secs(1) { status(429).retry_after("8") } else { status(200) });
    host.record(1..=20);
    let report = host.flush_within(secs(2));
    assert_eq!(report.retained, 20);
    host.set_clock_back(AN_HOUR);
    assert!(host.flush().ok);
    assert!(host.now() >= secs(8) && host.now() < secs(10), "{:?}", host.now());
}

#[wasm_bindgen_test(unsupported = test)]
fn an_answer_counts_though_the_clock_has_jumped_forward() {
    let mut host = Host::new(|_| status(200).after(millis(300)));
    host.record(1..=20);
    let flush = host.begin_flush(DEFAULT_BUDGET);
    host.run_until(millis(100));
    host.set_clock_forward(AN_HOUR);
    let report = host.finish(flush);
    assert!(report.ok);
    assert_eq!((report.delivered, host.requests.len()), (20, 1));
}

#[wasm_bindgen_test(unsupported = test)]
fn a_flush_that_wakes_after_an_hour_of_sleep_is_told_the_truth_though_another_began_before() {
    let mut host = Host::new(|_| hang());
    host.record(1..=20);
    let asleep = host.begin_flush(DEFAULT_BUDGET);
    host.run_until(secs(1));
    host.set_clock_forward(AN_HOUR);
    host.begin_flush(DEFAULT_BUDGET);
    let report = host.finish(asleep);
    assert_eq!((report.ok, report.retained, report.attempts), (false, 20, 1));
}

#[wasm_bindgen_test(unsupported = test)]
fn a_clock_that_jumps_forward_and_back_again_loses_nothing() {
    let mut host = Host::new(|request| if request.at < secs(2) { status(503) } else { status(200) });
    host.record(1..=20);
    let flush = host.begin_flush(DEFAULT_BUDGET);
    host.run_until(secs(1));
    host.set_clock_forward(AN_HOUR);
    assert_eq!(host.finish(flush).retained, 20, "by its clock the flush had been over for long");
    host.set_clock_back(AN_HOUR);
    host.run_until(secs(2));
    let report = host.flush();
    assert!(report.ok);
    assert!(report.duration_ms < 5000, "{} ms", report.duration_ms);
}

/// Twenty records whose lease ran out at `START + LEASE`, so that they are back in the queue.
fn exporter_with_expired_lease() -> (Exporter, LeaseId) {
    let mut exporter = Exporter::new(Settings::default());
    for number in 1..=20 {
        exporter.push(small_record(number), START);
    }
    let dead = exporter.begin_flush(DEFAULT_BUDGET, START);
    let Action::Send(request) = exporter.poll(dead, START) else { panic!("there are records to send") };
    reclaim(&mut exporter, START + LEASE);
    assert_eq!((exporter.stats().queued, exporter.stats().leased), (20, 0));
    (exporter, request.lease)
}

/// Any poll takes expired leases back, also that of a flush that has no time to send anything.
fn reclaim(exporter: &mut Exporter, now: Timestamp) {
    let flush = exporter.begin_flush(Duration::ZERO, now);
    let Action::Done(report) = exporter.poll(flush, now) else { panic!("it has no time") };
    assert_eq!(report.retained, 20);
}

fn response(status: u16) -> Outcome {
    Outcome::Response { status, retry_after: None, message: String::new(), verdicts: Vec::new() }
}
