use std::time::Duration;

use langfuse_edge::config::Setting;
use langfuse_edge::{Langfuse, Level, ObservationKind, Options, Usage};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::receiver::Receiver;

#[tokio::test]
async fn a_trace_arrives_as_it_was_recorded() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let question = json!([{ "role": "user", "content": "Why is the sky blue?" }]);

    let root = langfuse.observe("request").kind(ObservationKind::Agent).user_id("u-1").input("why?").start();
    let answer = root.generation("answer").model("gpt-4o").input(&question).start();
    answer.output("Rayleigh scattering").usage(Usage::new(512, 128)).end();
    let lookup = root.observe("lookup").kind(ObservationKind::Tool).start();
    lookup.level(Level::Warning).status_message("slow").end();
    root.end();
    let report = langfuse.flush().await;

    assert!(report.ok, "{report:?}");
    assert_eq!((report.delivered, report.requests, report.retained), (3, 1, 0));
    let trees = receiver.trees().await;
    for line in
        ["AGENT", "GENERATION  answer   512 → 128 tokens", "TOOL        lookup", "WARNING", "slow", "gpt-4o"]
    {
        assert!(trees.contains(line), "{line} is missing in\n{trees}");
    }
}

#[tokio::test]
async fn a_flush_waits_for_the_answer_of_a_batch_that_is_on_its_way() {
    let receiver = Receiver::start();
    receiver.fault(r#"{"delayMs": 300}"#).await;
    let langfuse = receiver.client();
    record(&langfuse, 20);
    langfuse.flush_in_background();
    while langfuse.stats().leased == 0 {
        tokio::task::yield_now().await;
    }

    let report = langfuse.flush().await;

    assert_eq!(report.delivered, 20);
    assert_eq!(receiver.state("observations").await, 20);
    assert_eq!(receiver.state("duplicates").await, 0);
}

#[tokio::test]
async fn a_server_error_and_a_reset_are_retried_with_the_same_records() {
    for fault in
        [r#"{"status": 503, "first": 1}"#, r#"{"status": 500, "first": 1}"#, r#"{"reset": true, "first": 1}"#]
    {
        let receiver = Receiver::start();
        receiver.fault(fault).await;
        let langfuse = receiver.client();
        record(&langfuse, 40);

        let report = langfuse.flush().await;

        assert_eq!((report.ok, report.delivered, report.attempts), (true, 40, 2), "{fault}: {report:?}");
        assert_eq!(receiver.state("observations").await, 40);
        assert_eq!(receiver.state("duplicates").await, 0);
    }
}

#[tokio::test]
async fn a_hanging_server_ends_a_flush_at_its_deadline_and_the_next_one_delivers() {
    let receiver = Receiver::start();
    receiver.fault(r#"{"hang": true}"#).await;
    let langfuse = receiver.client();
    record(&langfuse, 40);

    let first = langfuse.flush_within(Duration::from_secs(1)).await;
    receiver.fault("{}").await;
    let second = langfuse.flush().await;

    assert_eq!((first.ok, first.delivered, first.retained), (false, 0, 40));
    assert!((900..1500).contains(&first.duration_ms), "{} ms", first.duration_ms);
    assert_eq!((second.ok, second.delivered), (true, 40));
}

#[tokio::test]
async fn a_burst_goes_out_in_batches_and_arrives_whole() {
    let receiver = Receiver::start();
    let langfuse =
        Langfuse::new(&receiver.options().with(Setting::FlushAt, "100000")).expect("valid options");
    record(&langfuse, 5000);

    let report = langfuse.flush().await;

    assert_eq!((report.delivered, report.requests), (5000, 10));
    assert_eq!(receiver.state("observations").await, 5000);
}

#[tokio::test]
async fn a_burst_with_default_options_is_sent_at_once_in_full_batches() {
    let receiver = Receiver::start();
    receiver.fault(r#"{"delayMs": 20}"#).await;
    let langfuse = receiver.client();
    record(&langfuse, 5000);

    // All but the last few, for which the interval of 5 s begins.
    let most = timeout(Duration::from_secs(4), delivered(&langfuse, 4901)).await;
    let all = timeout(Duration::from_secs(6), delivered(&langfuse, 5000)).await;

    assert!(most.is_ok() && all.is_ok(), "{:?}", langfuse.stats());
    let requests = receiver.state("requests").await;
    assert!(requests <= 15, "{requests} requests");
    assert_eq!(receiver.state("observations").await, 5000);
}

#[tokio::test]
async fn what_is_recorded_while_a_batch_is_on_its_way_travels_together() {
    let receiver = Receiver::start();
    receiver.fault(r#"{"delayMs": 300}"#).await;
    let langfuse = Langfuse::new(&receiver.options().with(Setting::FlushAt, "10")).expect("valid options");
    record(&langfuse, 10);
    while langfuse.stats().leased == 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..4 {
        record(&langfuse, 10);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    timeout(Duration::from_secs(3), delivered(&langfuse, 50)).await.expect("before the interval is over");

    assert_eq!(receiver.state("requests").await, 2);
}

#[tokio::test]
async fn a_flush_covers_a_burst_that_is_being_sent_already() {
    let receiver = Receiver::start();
    receiver.fault(r#"{"delayMs": 300}"#).await;
    let langfuse = receiver.client();
    record(&langfuse, 1000);
    while langfuse.stats().leased == 0 {
        tokio::task::yield_now().await;
    }
    record(&langfuse, 1000);

    let report = langfuse.flush().await;

    assert!(report.ok, "{report:?}");
    let stats = langfuse.stats();
    assert_eq!((stats.delivered, stats.queued, stats.leased), (2000, 0, 0));
    assert_eq!(receiver.state("observations").await, 2000);
    assert_eq!(receiver.state("duplicates").await, 0);
}

#[tokio::test]
async fn what_is_recorded_while_records_are_on_their_way_is_sent_within_the_interval() {
    let receiver = Receiver::start();
    receiver.fault(r#"{"delayMs": 300}"#).await;
    for interval in ["0.1", "0.4"] {
        let options = receiver.options().with(Setting::FlushAt, "10").with(Setting::FlushInterval, interval);
        let langfuse = Langfuse::new(&options).expect("valid options");
        record(&langfuse, 10);
        while langfuse.stats().leased == 0 {
            tokio::task::yield_now().await;
        }
        record(&langfuse, 3);

        let all = timeout(Duration::from_secs(2), delivered(&langfuse, 13)).await;

        assert!(all.is_ok(), "{interval} s: {:?}", langfuse.stats());
    }
    assert_eq!(receiver.state("requests").await, 4);
}

#[tokio::test]
async fn a_server_that_refuses_the_keys_is_not_asked_again_for_every_few_records() {
    let receiver = Receiver::start();
    let wrong = Options::default().keys("pk-lf-dev", "sk-lf-wrong").base_url(&receiver.url);
    let langfuse = Langfuse::new(&wrong.with(Setting::FlushAt, "10")).expect("valid options");
    for round in 1..=10 {
        record(&langfuse, 10);

        let report = timeout(Duration::from_secs(5), langfuse.flush()).await;

        assert_eq!(report.expect("the sending thread is free").retained, 10 * round);
    }
    assert_eq!(receiver.state("requests").await, 1);
}

#[tokio::test]
async fn wrong_keys_are_reported_and_the_server_is_left_alone() {
    let receiver = Receiver::start();
    let options = Options::default().keys("pk-lf-dev", "sk-lf-wrong").base_url(&receiver.url);
    let langfuse = Langfuse::new(&options).expect("valid options");
    record(&langfuse, 3);

    let first = langfuse.flush().await;
    let second = langfuse.flush().await;

    assert_eq!((first.retained, first.requests, first.last_status), (3, 1, Some(401)));
    assert_eq!((second.retained, second.requests, second.last_status), (3, 0, Some(401)));
}

#[test]
fn a_blocking_flush_works_without_a_runtime() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    record(&langfuse, 5);

    assert_eq!(langfuse.flush_blocking(Duration::from_secs(5)).delivered, 5);
}

#[tokio::test(flavor = "current_thread")]
async fn a_blocking_flush_works_inside_a_runtime_of_one_thread() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    record(&langfuse, 5);

    assert_eq!(langfuse.flush_blocking(Duration::from_secs(5)).delivered, 5);
}

#[test]
fn a_flush_works_after_the_runtime_that_recorded_is_gone() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    runtime().block_on(async { record(&langfuse, 5) });

    assert_eq!(runtime().block_on(langfuse.flush()).delivered, 5);
}

#[tokio::test]
async fn a_long_lived_process_sends_by_itself() {
    let receiver = Receiver::start();
    let by_count = receiver.options().with(Setting::FlushAt, "10").with(Setting::FlushInterval, "3600");
    let by_time = receiver.options().with(Setting::FlushInterval, "0.05");
    let by_count_alone = receiver.options().with(Setting::FlushAt, "10").with(Setting::FlushInterval, "0");
    for (options, count) in [(by_count, 10), (by_time, 1), (by_count_alone, 10)] {
        let langfuse = Langfuse::new(&options).expect("valid options");
        record(&langfuse, count);
        delivered(&langfuse, count).await;
    }

    assert_eq!(receiver.state("observations").await, 21);
    assert_eq!(receiver.state("requests").await, 3);
}

#[tokio::test]
async fn the_intervals_of_clients_that_begin_together_are_up_to_a_fifth_shorter_each_by_another_part() {
    let receiver = Receiver::start();
    let options = receiver.options().flush_interval(Duration::from_secs(2));
    let start = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..16 {
        let langfuse = Langfuse::new(&options).expect("valid options");
        let begun = start.elapsed();
        record(&langfuse, 1);
        clients.spawn(async move {
            delivered(&langfuse, 1).await;
            (begun, start.elapsed())
        });
    }

    let waited: Vec<_> = clients.join_all().await.into_iter().map(|(begun, end)| end - begun).collect();

    let (first, last) = (waited.iter().min().expect("16 of them"), waited.iter().max().expect("16 of them"));
    assert!(*first >= Duration::from_millis(1600), "{waited:?}");
    assert!(*last - *first > Duration::from_millis(100), "{waited:?}");
}

#[tokio::test]
async fn after_a_shutdown_nothing_is_sent_by_itself() {
    let receiver = Receiver::start();
    receiver.fault(r#"{"status": 401}"#).await;
    let options = receiver.options().flush_at(1).flush_interval(Duration::from_millis(50));
    let langfuse = Langfuse::new(&options).expect("valid options");
    record(&langfuse, 3);

    let report = langfuse.shutdown().await;

    assert_eq!((report.ok, report.drop_reasons.shutdown), (false, 3));
    let requests = receiver.state("requests").await;
    receiver.fault("{}").await;
    record(&langfuse, 3);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(receiver.state("requests").await, requests);
}

#[tokio::test]
async fn what_a_flush_retained_is_sent_later_without_another_flush() {
    let receiver = Receiver::start();
    receiver.fault(r#"{"status": 503, "forMs": 400}"#).await;
    let langfuse =
        Langfuse::new(&receiver.options().with(Setting::FlushInterval, "0.1")).expect("valid options");
    record(&langfuse, 3);

    let report = langfuse.flush_within(Duration::from_millis(100)).await;
    delivered(&langfuse, 3).await;

    assert_eq!(report.retained, 3);
    assert_eq!(receiver.state("observations").await, 3);
}

#[tokio::test]
async fn a_trace_is_sampled_whole_or_not_at_all() {
    let receiver = Receiver::start();
    let langfuse =
        Langfuse::new(&receiver.options().with(Setting::SampleRate, "0.5")).expect("valid options");
    for _ in 0..200 {
        let root = langfuse.observe("root").start();
        root.observe("child").start().observe("grandchild").start().end();
    }

    let report = langfuse.flush().await;

    let traces = receiver.state("observations").await / 3;
    assert!((60..140).contains(&traces), "{traces} of 200 traces");
    assert_eq!((report.delivered, report.dropped), (traces * 3, 0));
}

#[tokio::test]
async fn after_a_shutdown_nothing_is_recorded() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    record(&langfuse, 3);

    let report = langfuse.shutdown().await;
    record(&langfuse, 2);
    let late = langfuse.flush().await;

    assert_eq!((report.ok, report.delivered), (true, 3));
    assert_eq!((late.delivered, late.dropped, late.drop_reasons.shutdown), (0, 2, 2));
    assert_eq!(receiver.state("observations").await, 3);
}

#[tokio::test]
async fn a_disabled_client_does_nothing() {
    let langfuse = Langfuse::disabled();
    record(&langfuse, 5);

    let report = langfuse.flush().await;

    assert!(report.ok && report.attempts == 0);
    assert_eq!(langfuse.stats().recorded, 0);
}

async fn delivered(langfuse: &Langfuse, count: u64) {
    while langfuse.stats().delivered < count {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn record(langfuse: &Langfuse, count: u64) {
    for number in 0..count {
        langfuse.observe(format!("work-{number}")).start().end();
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}
