use std::time::Duration;

use langfuse_edge::exporter::{Action, Exporter, Settings};
use langfuse_edge::retry::{Decision, Outcome, backoff, classify, parse_retry_after};
use langfuse_edge::wire::encode;
use wasm_bindgen_test::wasm_bindgen_test;

use crate::host::{DEFAULT_BUDGET, Host, millis, secs, status};
use crate::records::{END, START, observation};

#[wasm_bindgen_test(unsupported = test)]
fn every_status_has_its_decision() {
    const RETRY: Decision = Decision::Retry { after: None };
    for (status, decision) in [
        (200, Decision::Delivered),
        (202, Decision::Delivered),
        (207, Decision::Delivered),
        (299, Decision::Delivered),
        (408, RETRY),
        (425, RETRY),
        (429, RETRY),
        (500, RETRY),
        (502, RETRY),
        (503, RETRY),
        (504, RETRY),
        (520, RETRY),
        (599, RETRY),
        (413, Decision::TooLarge),
        (0, Decision::Misconfigured),
        (300, Decision::Misconfigured),
        (301, Decision::Misconfigured),
        (302, Decision::Misconfigured),
        (308, Decision::Misconfigured),
        (401, Decision::Misconfigured),
        (403, Decision::Misconfigured),
        (404, Decision::Misconfigured),
        (405, Decision::Misconfigured),
        (400, Decision::Refused),
        (402, Decision::Refused),
        (406, Decision::Refused),
        (409, Decision::Refused),
        (410, Decision::Refused),
        (415, Decision::Refused),
        (422, Decision::Refused),
        (431, Decision::Refused),
        (451, Decision::Refused),
    ] {
        assert_eq!(classify(&response(status, None)), decision, "status {status}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn no_answer_is_a_reason_to_try_again() {
    for ambiguous in [false, true] {
        assert_eq!(classify(&Outcome::Failed { ambiguous }), Decision::Retry { after: None });
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_server_may_name_the_time_of_the_next_attempt() {
    for status in [408, 425, 429, 500, 503] {
        let named = Decision::Retry { after: Some(secs(7)) };
        assert_eq!(classify(&response(status, Some("7"))), named, "status {status}");
    }
    assert_eq!(classify(&response(200, Some("7"))), Decision::Delivered);
    assert_eq!(classify(&response(400, Some("7"))), Decision::Refused);
}

#[wasm_bindgen_test(unsupported = test)]
fn retry_after_is_read_when_it_is_in_seconds() {
    for (value, parsed) in [
        ("0", Some(secs(0))),
        ("1", Some(secs(1))),
        ("007", Some(secs(7))),
        (" 60 ", Some(secs(60))),
        ("\t5", Some(secs(5))),
        ("600", Some(secs(600))),
        ("601", Some(secs(600))),
        ("86400", Some(secs(600))),
        ("99999999999999999999999999", Some(secs(600))),
        ("", None),
        ("  ", None),
        ("-1", None),
        ("+1", None),
        ("1.5", None),
        ("1e3", None),
        ("1 2", None),
        ("0x10", None),
        ("soon", None),
        ("٣", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
    ] {
        assert_eq!(parse_retry_after(value, |_| None), parsed, "{value:?}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn retry_after_as_a_date_is_as_far_off_as_the_host_says_within_bounds() {
    let date = "Wed, 21 Oct 2026 07:28:00 GMT";
    for (far_off, wait) in [(secs(0), secs(0)), (secs(30), secs(30)), (secs(86_400), secs(600))] {
        let until = |value: &str| (value == date).then_some(far_off);
        assert_eq!(parse_retry_after(&format!(" {date} "), until), Some(wait));
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn backoff_grows_to_ten_seconds_and_never_below_a_moment() {
    let latest: Vec<_> = (1..=8).map(|failures| rounded(backoff(failures, u32::MAX))).collect();
    assert_eq!(latest, [500, 1000, 2000, 4000, 8000, 10_000, 10_000, 10_000].map(millis));
    for failures in (0..100).chain([u32::MAX]) {
        let ceiling = backoff(failures, u32::MAX);
        assert!(ceiling <= secs(10));
        assert_eq!(backoff(failures, 0), millis(50), "the luckiest draw");
        assert!(backoff(failures, u32::MAX / 2) <= ceiling / 2 + millis(1), "full jitter is uniform");
        let draws: Vec<_> = (0..=64).map(|step| backoff(failures, (u32::MAX / 64) * step)).collect();
        assert!(draws.is_sorted());
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn an_outage_is_met_with_ever_longer_pauses() {
    let mut host = Host::new(|_| status(503));
    host.record(1..=40);
    let report = host.flush();
    assert_eq!((report.retained, report.requests), (40, report.attempts));
    let pauses: Vec<_> = host.requests.windows(2).map(|pair| pair[1].at - pair[0].at - millis(5)).collect();
    for (pause, failures) in pauses.iter().zip(1..) {
        let (earliest, latest) = (millis(50), backoff(failures, u32::MAX));
        assert!((earliest..=latest).contains(pause), "{pause:?} after failure {failures}");
    }
    assert!((4..=30).contains(&host.requests.len()), "{} requests in 25 s", host.requests.len());
}

#[wasm_bindgen_test(unsupported = test)]
fn an_outage_that_ends_leaves_no_pause_behind() {
    let mut host = Host::new(|request| if request.at < secs(4) { status(503) } else { status(200) });
    host.record(1..=40);
    assert!(host.flush().ok);
    host.record(41..=80);
    assert_eq!(host.flush().duration_ms, 5);
}

#[wasm_bindgen_test(unsupported = test)]
fn clients_that_fail_together_do_not_come_back_together() {
    let mut dues: Vec<_> =
        (1..=50_u64).map(|client| due_after_failure(client.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    dues.sort_unstable();
    dues.dedup();
    assert!(dues.len() > 40, "{} different pauses of 50 clients", dues.len());
    assert!(dues[dues.len() - 1] - dues[0] > millis(250), "{dues:?}");
}

#[wasm_bindgen_test(unsupported = test)]
fn the_time_a_server_names_is_kept() {
    let mut host =
        Host::new(|request| if request.at < secs(1) { status(429).retry_after("2") } else { status(200) });
    host.record(1..=40);
    let report = host.flush();
    assert!(report.ok);
    assert_eq!((report.delivered, report.requests), (40, 2));
    let answered = host.requests[0].at + millis(5);
    let pause = host.requests[1].at - answered;
    assert!((secs(2)..millis(3500)).contains(&pause), "{pause:?}");
}

#[wasm_bindgen_test(unsupported = test)]
fn a_server_that_names_no_time_to_wait_is_not_hammered() {
    let mut host = Host::new(|_| status(429).retry_after("0"));
    host.record(1..=40);
    assert_eq!(host.flush().retained, 40);
    assert!(host.requests.len() <= 30, "{} requests in 25 s", host.requests.len());
}

#[wasm_bindgen_test(unsupported = test)]
fn an_answer_to_another_request_does_not_shorten_the_time_a_server_named() {
    for other in [200, 400, 503] {
        let mut host = Host::new(move |request| match request.at {
            at if at >= secs(1) => status(200),
            at if at.is_zero() => status(429).retry_after("3"),
            _ => status(other).after(millis(300)),
        });
        host.record(1..=1);
        let first = host.begin_flush(DEFAULT_BUDGET);
        host.run_until(millis(1));
        host.record(2..=2);
        let second = host.begin_flush(DEFAULT_BUDGET);
        assert_eq!(host.finish(first).delivered, 1);
        host.finish(second);
        assert_eq!(host.requests[1].at, millis(1));
        assert!(host.requests[2].at >= secs(3), "{:?} in spite of {other}", host.requests[2].at);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_time_beyond_the_budget_ends_the_flush_early_and_binds_the_next_ones() {
    let mut host =
        Host::new(|request| if request.at < secs(60) { status(429).retry_after("60") } else { status(200) });
    host.record(1..=40);
    let report = host.flush_within(secs(5));
    assert_eq!((report.retained, report.requests, report.duration_ms), (40, 1, 5));

    host.run_until(secs(10));
    host.record(41..=50);
    let report = host.flush();
    assert_eq!((report.retained, report.attempts, report.duration_ms), (50, 0, 0));

    host.run_until(secs(50));
    let report = host.flush();
    assert!(report.ok);
    assert_eq!((report.delivered, report.requests), (50, 1));
    assert_eq!(host.requests.len(), 2);
    assert!(host.requests[1].at >= secs(60));
}

#[wasm_bindgen_test(unsupported = test)]
fn a_time_at_the_very_end_of_the_budget_is_not_waited_for() {
    let mut host = Host::new(|_| status(429).retry_after("5").after(Duration::ZERO));
    host.record(1..=40);
    let report = host.flush_within(secs(5));
    assert_eq!((report.retained, report.requests, report.duration_ms), (40, 1, 0));
}

#[wasm_bindgen_test(unsupported = test)]
fn a_misconfigured_client_asks_once_and_then_falls_silent_for_a_while() {
    for refusal in [0, 301, 307, 401, 403, 404, 405] {
        let mut host =
            Host::new(move |request| if request.at < secs(70) { status(refusal) } else { status(200) });
        host.record(1..=1000);
        let report = host.flush();
        assert!(!report.ok);
        assert_eq!((report.retained, report.requests), (1000, 1), "status {refusal}");
        assert_eq!(report.duration_ms, 5, "waiting changes no configuration");

        host.run_until(secs(10));
        let report = host.flush();
        assert_eq!((report.retained, report.attempts, report.duration_ms), (1000, 0, 0), "status {refusal}");

        host.run_until(secs(40));
        assert_eq!(host.flush().attempts, 1, "a probe");
        host.run_until(secs(45));
        assert_eq!(host.flush().attempts, 0);

        host.run_until(secs(80));
        let report = host.flush();
        assert!(report.ok, "status {refusal}");
        assert_eq!(report.delivered, 1000);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn flushes_that_overlap_send_one_probe_together() {
    let mut host =
        Host::new(|request| if request.at < secs(35) { status(401).after(millis(300)) } else { status(200) });
    host.record(1..=1000);
    host.flush();
    host.run_until(secs(31));
    let flushes = [0; 3].map(|_| host.begin_flush(DEFAULT_BUDGET));
    assert_eq!(flushes.map(|flush| host.finish(flush).retained), [1000; 3]);
    assert_eq!(host.requests.len(), 2, "one at first, and one probe");
    host.run_until(secs(90));
    let flushes = [0; 3].map(|_| host.begin_flush(DEFAULT_BUDGET));
    assert_eq!(flushes.map(|flush| host.finish(flush).delivered), [1000; 3]);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_server_that_fails_a_probe_is_worth_waiting_for_again() {
    let mut host = Host::new(|request| match request.at {
        at if at < secs(1) => status(401),
        at if at < secs(42) => status(503),
        _ => status(200),
    });
    host.record(1..=5);
    assert_eq!(host.flush().retained, 5);
    host.run_until(secs(40));
    assert!(host.flush().ok);
}

#[wasm_bindgen_test(unsupported = test)]
fn back_off_begins_anew_after_the_silence_of_a_misconfigured_client() {
    let mut count = 0;
    let mut host = Host::new(move |_| {
        count += 1;
        status(match count {
            1..=6 | 8 => 503,
            7 => 401,
            _ => 200,
        })
    });
    host.record(1..=5);
    assert_eq!(host.flush_within(secs(60)).requests, 7);
    host.run_until(secs(200));
    assert!(host.flush().ok);
    let pause = host.requests[8].at - host.requests[7].at;
    assert!(pause <= millis(505), "{pause:?}");
}

#[wasm_bindgen_test(unsupported = test)]
fn a_failure_does_not_cut_short_the_silence_of_a_misconfigured_client() {
    let mut host = Host::new(|request| match request.at {
        at if at.is_zero() => status(401),
        at if at < secs(1) => status(503).after(millis(300)),
        _ => status(200),
    });
    host.record(1..=1);
    let first = host.begin_flush(DEFAULT_BUDGET);
    host.run_until(millis(1));
    host.record(2..=2);
    let second = host.begin_flush(DEFAULT_BUDGET);
    host.finish(first);
    host.finish(second);
    assert_eq!(host.flush_within(secs(60)).delivered, 2);
    assert!(host.requests[2].at >= secs(30), "{:?}", host.requests[2].at);
}

/// The pause after a first failure of a client whose first record has this id.
fn due_after_failure(id: u64) -> Duration {
    let mut exporter = Exporter::new(Settings::default());
    exporter.push(encode(observation(id), END, None, None), END);
    let flush = exporter.begin_flush(DEFAULT_BUDGET, START);
    let Action::Send(request) = exporter.poll(flush, START) else { panic!("there is a record to send") };
    exporter.handle_response(request.lease, &Outcome::Failed { ambiguous: false }, START);
    let Action::WaitUntil(due) = exporter.poll(flush, START) else {
        panic!("a failure is followed by a pause")
    };
    due.since(START)
}

fn response(status: u16, retry_after: Option<&str>) -> Outcome {
    Outcome::Response {
        status,
        retry_after: retry_after.and_then(|value| parse_retry_after(value, |_| None)),
        message: String::new(),
        verdicts: Vec::new(),
    }
}

/// To the millisecond, as the largest draw is a hair below the ceiling.
fn rounded(duration: Duration) -> Duration {
    millis((duration.as_secs_f64() * 1000.0).round() as u64)
}
