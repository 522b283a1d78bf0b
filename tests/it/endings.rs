use langfuse_edge::exporter::{Action, Exporter, FlushSettings, Pushed, Settings};
use langfuse_edge::{DropReason, Timestamp};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::host::{DEFAULT_BUDGET, Host, refused, reset, secs, status};
use crate::records::{START, small_record};

#[wasm_bindgen_test(unsupported = test)]
fn a_record_that_waits_for_too_long_is_dropped_as_expired() {
    let mut host =
        Host::with(lives_for_a_minute(), |received| status(if received.at < secs(70) { 503 } else { 200 }));
    host.record(1..=3);
    assert_eq!(host.flush_within(secs(5)).retained, 3);
    host.run_until(secs(50));
    host.record(4..=5);
    host.run_until(secs(80));

    let report = host.flush();

    assert_eq!((report.delivered, report.dropped, report.retained), (2, 3, 0));
    assert_eq!(report.drop_reasons.iter().collect::<Vec<_>>(), [("expired", 3)]);
    assert_eq!(host.requests.last().map(|request| request.ids()), Some(vec![4, 5]));
}

#[wasm_bindgen_test(unsupported = test)]
fn a_clock_that_shows_1970_before_the_first_request_makes_nothing_old() {
    for nineteen_seventy in [Timestamp::from_millis(0), Timestamp::from_millis(1)] {
        let mut exporter = Exporter::new(Settings::default());
        exporter.push(small_record(1), nineteen_seventy);

        let flush = exporter.begin_flush(DEFAULT_BUDGET, START);

        assert!(matches!(exporter.poll(flush, START), Action::Send(_)));
        assert_eq!(exporter.stats().dropped, 0);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_record_in_flight_does_not_expire() {
    let mut settings = lives_for_a_minute();
    settings.attempt_timeout = secs(100);
    let mut host = Host::with(settings, |_| status(200).after(secs(90)));
    host.record(1..=3);

    assert_eq!(host.flush_within(secs(200)).delivered, 3);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_shutdown_delivers_what_it_can_and_then_nothing_gets_in() {
    let mut exporter = Exporter::new(Settings::default());
    exporter.push(small_record(1), START);
    let shutdown = exporter.begin_flush(FlushSettings::last(DEFAULT_BUDGET), START);
    let Action::Send(request) = exporter.poll(shutdown, START) else { panic!("there is a record to send") };
    assert_eq!(exporter.push(small_record(2), START), Pushed::Dropped(DropReason::Shutdown));
    exporter.handle_response(request.lease, &status(200).outcome, START);
    let Action::Done(report) = exporter.poll(shutdown, START) else { panic!("everything is delivered") };

    assert_eq!((report.ok, report.delivered, report.dropped), (true, 1, 0));
    assert_eq!(exporter.stats().dropped, 1);
}

#[wasm_bindgen_test(unsupported = test)]
fn what_a_shutdown_cannot_deliver_is_dropped_also_when_another_flush_has_it_on_its_way() {
    let mut exporter = Exporter::new(Settings::default());
    exporter.push(small_record(1), START);
    let other = exporter.begin_flush(DEFAULT_BUDGET, START);
    let Action::Send(on_its_way) = exporter.poll(other, START) else { panic!("there is a record to send") };
    exporter.push(small_record(2), START);

    let shutdown = exporter.begin_flush(FlushSettings::last(secs(1)), START);
    let Action::Done(report) = exporter.poll(shutdown, START + secs(1)) else { panic!("its time is over") };
    exporter.handle_response(on_its_way.lease, &status(200).outcome, START + secs(1));

    assert_eq!((report.ok, report.delivered, report.retained, report.dropped), (false, 0, 0, 2));
    assert_eq!(report.drop_reasons.iter().collect::<Vec<_>>(), [("shutdown", 2)]);
    let stats = exporter.stats();
    assert_eq!((stats.recorded, stats.dropped, stats.queued, stats.leased), (2, 2, 0, 0));
}

#[wasm_bindgen_test(unsupported = test)]
fn what_another_exporter_has_lost_is_in_the_totals_and_in_the_next_report() {
    let mut host = Host::new(|_| status(200));
    host.exporter.count_lost(3);
    host.record(1..=2);

    let report = host.flush();

    assert_eq!((report.ok, report.delivered, report.dropped), (false, 2, 3));
    assert_eq!(report.drop_reasons.iter().collect::<Vec<_>>(), [("state_lost", 3)]);
    assert!(host.flush().ok, "it is told once");
    let stats = host.exporter.stats();
    assert_eq!((stats.recorded, stats.delivered, stats.dropped), (5, 2, 3));
}

#[wasm_bindgen_test(unsupported = test)]
fn a_server_that_refuses_everything_does_not_use_up_the_subrequests_of_a_worker() {
    let mut host = Host::new(|_| status(400));
    host.record(1..=512);

    let report = host.flush();

    assert_eq!(report.requests, 40);
    assert!(report.retained > 0 && report.retained + report.rejected.len() as u64 == 512, "{report:?}");
}

fn lives_for_a_minute() -> Settings {
    let mut settings = Settings::default();
    settings.max_age = secs(60);
    settings
}

#[wasm_bindgen_test(unsupported = test)]
fn by_default_what_may_have_arrived_is_sent_again() {
    let mut attempts = 0;
    let mut host = Host::new(move |_| {
        attempts += 1;
        if attempts == 1 { reset() } else { status(200) }
    });
    host.record(1..=3);
    let report = host.flush();
    assert_eq!((report.delivered, report.dropped, report.ambiguous), (3, 0, 1));
}

#[wasm_bindgen_test(unsupported = test)]
fn a_client_that_gives_up_what_may_have_arrived_never_sends_it_again() {
    let mut host = Host::with(giving_up(), |_| reset());
    host.record(1..=3);
    let report = host.flush();
    assert_eq!((report.dropped, report.drop_reasons.ambiguous, report.ambiguous), (3, 3, 1));
    assert_eq!((report.retained, host.requests.len()), (0, 1));

    // A driver that dies cannot tell either.
    host.run_until(secs(1));
    host.record(4..=5);
    let dead = host.begin_flush(DEFAULT_BUDGET);
    host.kill(dead);
    assert_eq!(host.requests.len(), 2);
    host.run_until(secs(20));
    let report = host.flush();
    assert_eq!((report.drop_reasons.ambiguous, host.requests.len()), (2, 2));
}

#[wasm_bindgen_test(unsupported = test)]
fn it_still_sends_again_what_cannot_have_arrived() {
    let mut attempts = 0;
    let mut host = Host::with(giving_up(), move |_| {
        attempts += 1;
        match attempts {
            1 => refused(),
            2 => status(503),
            _ => status(200),
        }
    });
    host.record(1..=3);
    assert_eq!(host.flush().delivered, 3);
}

#[wasm_bindgen_test(unsupported = test)]
fn records_lost_with_a_former_exporter_are_told_of_once() {
    let mut host = Host::new(|_| status(200));
    host.exporter.count_lost(5);
    host.record(1..=1);
    let report = host.flush();
    assert_eq!((report.delivered, report.dropped, report.drop_reasons.state_lost), (1, 5, 5));
    assert!(!report.ok);
    assert_eq!((host.exporter.stats().recorded, host.exporter.stats().dropped), (6, 5));
    assert!(host.flush().ok);
}

fn giving_up() -> Settings {
    let mut settings = Settings::default();
    settings.gives_up_ambiguous = true;
    settings
}
