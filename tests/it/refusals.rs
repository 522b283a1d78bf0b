use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use langfuse_edge::exporter::Settings;
use wasm_bindgen_test::wasm_bindgen_test;

use crate::body::spans;
use crate::host::{Answer, Host, Received, millis, secs, status};
use crate::records::{hex, record_with_input, record_with_metadata, small_record};

const PROXY_LIMIT: usize = 204_800;

#[wasm_bindgen_test(unsupported = test)]
fn a_request_too_large_for_the_server_is_split_and_the_limit_remembered() {
    let mut host = Host::new(limited_to(PROXY_LIMIT));
    for number in 1..=40 {
        host.push(record_with_input(number, 20_000));
    }
    let report = host.flush();
    assert!(report.ok);
    assert_eq!(report.delivered, 40);
    assert!(report.requests <= 16, "{} requests", report.requests);

    let first_round = host.requests.len();
    for number in 41..=80 {
        host.push(record_with_input(number, 20_000));
    }
    assert!(host.flush().ok);
    let second_round = &host.requests[first_round..];
    assert!(second_round.iter().all(|request| request.body.len() <= PROXY_LIMIT), "a second 413");
    assert!(second_round.len() <= 8, "{} requests for 800 kB", second_round.len());
}

#[wasm_bindgen_test(unsupported = test)]
fn a_413_never_makes_batches_larger_than_they_were_set() {
    let mut settings = Settings::default();
    settings.batch_bytes = 2000;
    let mut host = Host::with(settings, limited_to(1500));
    host.record(1..=40);
    assert!(host.flush().ok);
    host.record(41..=80);
    assert!(host.flush().ok);
    assert!(host.requests.iter().all(|request| request.body.len() <= 2000));
}

#[wasm_bindgen_test(unsupported = test)]
fn the_late_413_of_a_larger_request_does_not_raise_the_remembered_limit() {
    let mut host = Host::new(|request| {
        let is_slow = request.body.len() > 1_500_000;
        let answer = if request.body.len() > PROXY_LIMIT { status(413) } else { status(200) };
        answer.after(millis(if is_slow { 300 } else { 5 }))
    });
    for number in 1..=100 {
        host.push(record_with_input(number, 20_000));
    }
    let first = host.begin_flush(secs(25));
    for number in 101..=150 {
        host.push(record_with_input(number, 20_000));
    }
    let second = host.begin_flush(secs(25));
    assert!(host.finish(second).ok && host.finish(first).ok);
    let bodies = host.requests.iter().map(|request| request.body.len());
    let too_large: Vec<_> = bodies.filter(|len| *len > PROXY_LIMIT).collect();
    assert_eq!(too_large.len(), 4, "the larger one, and the smaller one halved twice: {too_large:?}");
}

#[wasm_bindgen_test(unsupported = test)]
fn a_remembered_limit_doubles_every_ten_minutes_until_it_is_forgotten() {
    let mut host = Host::new(|request| {
        // A proxy that is set right after the first minute.
        if request.at < secs(60) && request.body.len() > PROXY_LIMIT { status(413) } else { status(200) }
    });
    let mut largest = |after: Duration| {
        host.run_until(after);
        for number in 0..200 {
            host.push(record_with_input(after.as_secs() * 1000 + number + 1, 20_000));
        }
        let known = host.requests.len();
        assert!(host.flush().ok);
        let bodies = host.requests[known..].iter().map(|request| request.body.len());
        bodies.max().expect("something is sent")
    };
    assert!(largest(secs(0)) > PROXY_LIMIT, "the limit has to be learned");
    let learned = largest(secs(590));
    assert!(learned <= PROXY_LIMIT);
    let doubled = largest(secs(660));
    assert!(learned < doubled && doubled <= 2 * PROXY_LIMIT, "{learned}, then {doubled}");
    let later: Vec<_> = [1300, 2000, 2700, 3400, 4100].map(|time| largest(secs(time))).into();
    assert!(later.is_sorted(), "{later:?}");
    assert!(later.last().is_some_and(|last| *last > 3_000_000), "as large as the settings allow: {later:?}");
}

#[wasm_bindgen_test(unsupported = test)]
fn a_single_record_too_large_for_the_server_loses_its_input_and_says_so() {
    let mut host = Host::new(limited_to(PROXY_LIMIT));
    for number in 1..=40 {
        host.push(record_with_input(number, if number == 6 { 1_000_000 } else { 10 }));
    }
    let report = host.flush();
    assert!(report.ok);
    assert_eq!(report.delivered, 40);
    assert!(report.requests <= 20, "{} requests", report.requests);

    let delivered = delivered(&host, PROXY_LIMIT);
    assert_eq!(delivered, (1..=40).collect());
    let accepted = host.requests.iter().filter(|request| request.body.len() <= PROXY_LIMIT);
    let cut: Vec<_> = accepted
        .flat_map(|request| spans(&request.body))
        .filter(|span| span.contains("langfuse.observation.metadata.langfuse_edge_truncated"))
        .collect();
    let [cut] = &cut[..] else { panic!("one record is cut, not {}", cut.len()) };
    assert_eq!(cut.id, 6);
    assert!(cut.contains("input and output were too large for the server and are left out (1000"));
    assert!(cut.contains("step 6"));
    assert!(!cut.contains("langfuse.observation.input"));
}

#[wasm_bindgen_test(unsupported = test)]
fn a_single_record_too_large_even_without_input_is_rejected_with_its_id() {
    let mut host = Host::new(limited_to(PROXY_LIMIT));
    for number in 1..=39 {
        host.push(small_record(number));
    }
    host.push(record_with_metadata(40, 500_000));
    let report = host.flush();
    assert_eq!((report.delivered, report.retained, report.dropped), (39, 0, 0));
    let [rejection] = &report.rejected[..] else { panic!("one record is rejected: {report:?}") };
    assert_eq!((&rejection.id, rejection.status), (&hex(40), 413));
    assert_eq!(rejection.message, "Request Entity Too Large");
    assert_eq!(host.exporter.stats().rejected, 1);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_record_that_would_be_larger_without_its_small_input_is_rejected_as_it_is() {
    let mut host = Host::new(limited_to(100));
    host.record(1..=1);
    let report = host.flush();
    assert_eq!((report.rejected.len(), report.requests), (1, 1));
}

#[wasm_bindgen_test(unsupported = test)]
fn a_server_with_a_tiny_limit_gets_records_one_by_one() {
    let mut host = Host::new(limited_to(300));
    host.record(1..=8);
    let report = host.flush();
    assert!(report.ok, "{report:?}");
    assert_eq!(report.requests, 15);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_poisonous_record_is_found_in_few_requests_and_the_rest_delivered() {
    for poison in [1, 6, 20, 21, 40] {
        let mut host = Host::new(refusing([poison]));
        host.record(1..=40);
        let report = host.flush();
        assert_eq!((report.delivered, report.retained, report.dropped), (39, 0, 0));
        let [rejection] = &report.rejected[..] else { panic!("one record is rejected: {report:?}") };
        assert_eq!((&rejection.id, rejection.status), (&hex(poison), 400));
        assert!(rejection.message.starts_with("Invalid OTLP trace export: "));
        // The batch, and both halves at each of the six levels that separate forty records.
        assert!(report.requests <= 13, "{} requests for poison {poison}", report.requests);
        assert_eq!(report.duration_ms, 5 * report.requests, "a refusal is no reason to pause");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn two_poisonous_records_are_found() {
    let mut host = Host::new(refusing([3, 33]));
    host.record(1..=40);
    let report = host.flush();
    assert_eq!(report.delivered, 38);
    let ids: BTreeSet<_> = report.rejected.iter().map(|rejection| rejection.id.clone()).collect();
    assert_eq!(ids, BTreeSet::from([hex(3), hex(33)]));
    assert!(report.requests <= 25, "{} requests", report.requests);
}

#[wasm_bindgen_test(unsupported = test)]
fn the_words_of_a_refusal_are_cut_at_a_character() {
    let words = format!("{}ä{}", "x".repeat(299), "y".repeat(5000));
    let mut host = Host::new(move |_| status(422).saying(&words));
    host.record(1..=1);
    let report = host.flush();
    assert_eq!(report.rejected[0].message, "x".repeat(299));
    assert_eq!(report.rejected[0].status, 422);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_failure_in_between_does_not_undo_the_search_for_the_poison() {
    let mut refuse = refusing([6]);
    let mut count = 0;
    let mut host = Host::new(move |request| {
        count += 1;
        if count % 3 == 0 { status(503) } else { refuse(request) }
    });
    host.record(1..=40);
    let report = host.flush();
    assert_eq!((report.delivered, report.rejected.len()), (39, 1));
    assert!(report.requests <= 20, "{} requests", report.requests);
}

#[wasm_bindgen_test(unsupported = test)]
fn records_that_were_waiting_behind_a_poisonous_one_are_delivered_too() {
    let mut host = Host::new(refusing([6]));
    host.record(1..=1000);
    let report = host.flush();
    assert_eq!((report.delivered, report.rejected.len(), report.retained), (999, 1, 0));
    assert!(report.requests <= 21, "{} requests", report.requests);
}

#[wasm_bindgen_test(unsupported = test)]
fn nothing_that_was_accepted_is_sent_again_because_of_a_refusal() {
    let accepted = Rc::new(RefCell::new(Vec::new()));
    let mut refuse = refusing([6, 7, 30]);
    let seen = Rc::clone(&accepted);
    let mut host = Host::new(move |request| {
        let is_refused = request.ids().iter().any(|id| [6, 7, 30].contains(id));
        if !is_refused {
            seen.borrow_mut().extend(request.ids());
        }
        refuse(request)
    });
    host.record(1..=40);
    assert_eq!(host.flush().delivered, 37);
    let mut ids = accepted.take();
    ids.sort_unstable();
    let expected: Vec<_> = (1..=40).filter(|id| ![6, 7, 30].contains(id)).collect();
    assert_eq!(ids, expected);
}

fn limited_to(limit: usize) -> impl FnMut(&Received) -> Answer {
    move |request| {
        if request.body.len() > limit { status(413).saying("Request Entity Too Large") } else { status(200) }
    }
}

/// Langfuse refuses a whole request when one span in it is malformed.
fn refusing<const N: usize>(poison: [u64; N]) -> impl FnMut(&Received) -> Answer {
    move |request| {
        if request.ids().iter().any(|id| poison.contains(id)) {
            status(400).saying("Invalid OTLP trace export: no spans were ingested")
        } else {
            status(200)
        }
        .after(millis(5))
    }
}

fn delivered(host: &Host, limit: usize) -> BTreeSet<u64> {
    host.requests.iter().filter(|request| request.body.len() <= limit).flat_map(Received::ids).collect()
}
