//! Flushes where something ends: a client, a future, a guard, a runtime.

use std::thread;
use std::time::Duration;

use langfuse_edge::config::Setting;
use langfuse_edge::{Langfuse, init_with, langfuse, set_langfuse};
use tokio::time::Instant;

use crate::process_wide::process_wide;
use crate::receiver::Receiver;
use crate::sink::Sink;

#[tokio::test]
async fn the_last_clone_delivers_when_it_is_dropped_and_no_other_waits() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let observation = langfuse.observe("work").start();

    drop(langfuse.clone());
    drop(langfuse);
    assert_eq!(receiver.state("observations").await, 0);
    drop(observation);

    assert_eq!(receiver.state("observations").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_client_may_be_dropped_in_a_task_and_a_drop_may_flush() {
    struct Flushes(Langfuse);
    impl Drop for Flushes {
        fn drop(&mut self) {
            self.0.observe("dropped").start().end();
            assert_eq!(self.0.flush_blocking(Duration::from_secs(10)).delivered, 1);
        }
    }
    let receiver = Receiver::start();
    let langfuse = receiver.client();

    tokio::spawn(async move { drop(Flushes(langfuse)) }).await.expect("it has delivered");

    assert_eq!(receiver.state("observations").await, 1);
}

#[tokio::test]
async fn a_guard_flushes_within_its_bound() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let _turn = process_wide(langfuse.clone()).await;
    langfuse.observe("work").start().end();

    drop(init_with(langfuse.clone()));

    assert_eq!(langfuse.stats().delivered, 1);
    receiver.fault(r#"{"hang": true}"#).await;
    langfuse.observe("work").start().end();
    let guard = init_with(langfuse.clone()).timeout(Duration::from_millis(200));
    let start = Instant::now();
    drop(guard);
    assert!((200..4000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    receiver.fault("{}").await;
    assert!(langfuse.flush().await.ok);
}

#[tokio::test]
async fn a_flush_that_is_dropped_midway_waits_for_nothing_and_delivers_all_the_same() {
    let receiver = Receiver::start();
    receiver.fault(r#"{"delayMs": 2000}"#).await;
    let langfuse = receiver.client();
    langfuse.observe("work").start().end();
    let start = Instant::now();

    let cancelled = tokio::time::timeout(Duration::from_millis(50), langfuse.flush()).await;

    assert!(cancelled.is_err() && start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
    while langfuse.stats().delivered == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(receiver.state("requests").await, 1);
}

#[tokio::test]
async fn a_flush_outlives_the_client_and_tells_what_has_become_of_its_records() {
    let receiver = Receiver::start();
    receiver.fault(r#"{"delayMs": 100}"#).await;
    let langfuse = receiver.client();
    langfuse.observe("work").start().end();
    let mut flush = Box::pin(langfuse.flush());
    assert!(tokio::time::timeout(Duration::from_millis(10), &mut flush).await.is_err());

    drop(langfuse);
    let report = flush.await;

    assert!(report.ok && report.delivered == 1, "{report:?}");
}

#[test]
fn a_flush_works_in_every_runtime_and_after_each_of_them_is_gone() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let single = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let bare = || tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let many = || tokio::runtime::Runtime::new().expect("a runtime");
    for runtime in [single(), bare(), many()] {
        langfuse.observe("inside").start().end();
        assert_eq!(runtime.block_on(langfuse.flush()).delivered, 1);
        langfuse.observe("blocking").start().end();
        assert_eq!(runtime.block_on(async { langfuse.flush_blocking(Duration::from_secs(10)) }).delivered, 1);
        runtime.spawn(async {});
        langfuse.observe("after").start().end();
        let flush = langfuse.flush();
        drop(runtime);
        assert_eq!(single().block_on(flush).delivered, 1);
    }
}

#[tokio::test]
async fn requests_share_a_connection() {
    let sink = Sink::start();
    let receiver = Receiver::start();
    let options = receiver.options().base_url(sink.url()).with(Setting::FlushInterval, "0");
    let langfuse = Langfuse::new(&options).expect("valid options");
    for _ in 0..10 {
        let work = langfuse.observe("work").start();
        work.score("quality", 1).create();
        work.end();
        assert!(langfuse.flush().await.ok);
    }

    let connections = sink.connections();

    let requests: Vec<_> = connections.iter().map(Vec::len).collect();
    assert_eq!(requests, [20]);
}

#[tokio::test]
async fn a_client_that_is_shut_down_sends_no_more_by_itself() {
    let sink = Sink::start();
    let receiver = Receiver::start();
    let often = receiver.options().base_url(sink.url()).with(Setting::FlushInterval, "0.02");
    let langfuse = Langfuse::new(&often).expect("valid options");
    langfuse.observe("work").start().end();
    while langfuse.stats().delivered == 0 {
        tokio::task::yield_now().await;
    }

    langfuse.shutdown().await;
    langfuse.observe("late").start().end();
    tokio::time::sleep(Duration::from_millis(100)).await;

    assert_eq!(sink.connections().concat().len(), 1);
}

#[tokio::test]
async fn who_asks_for_the_process_wide_client_does_not_wait_for_the_flush_of_the_one_it_replaces() {
    let receiver = Receiver::start();
    receiver.fault(r#"{"hang": true}"#).await;
    let _turn = process_wide(receiver.client()).await;
    langfuse().observe("work").start().end();

    let replacing = thread::spawn(|| set_langfuse(Langfuse::disabled()));
    while receiver.state("requests").await == 0 {
        tokio::task::yield_now().await;
    }
    let start = Instant::now();
    let asked = langfuse();

    assert!(start.elapsed() < Duration::from_secs(2) && !asked.is_enabled(), "{:?}", start.elapsed());
    receiver.fault("{}").await;
    replacing.join().expect("it ends");
}
