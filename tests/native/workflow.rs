use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use langfuse_edge::{
    Langfuse, Options, Workflow, add_flush_handler, flush_langfuse, langfuse, run_workflow_with_flush, step,
};
use tokio::time::{Instant, timeout};

use crate::process_wide::process_wide;
use crate::receiver::Receiver;

#[tokio::test]
async fn steps_are_visible_before_the_workflow_ends_and_nest_by_themselves() {
    let receiver = Receiver::start();
    let _turn = process_wide(receiver.client()).await;
    let workflow = async |name: String| {
        let inner = async || step("inner", async { Ok::<_, String>(name.len()) }).await;
        let length = step("outer", inner()).await?;
        assert_eq!(receiver.state("observations").await, 2);
        Ok::<_, String>(length)
    };

    let length = run_workflow_with_flush(&workflow, "four".to_owned()).await;

    assert_eq!(length, Ok(4));
    assert!(receiver.trees().await.contains("SPAN     outer\n└─ SPAN  inner"), "{}", receiver.trees().await);
}

#[tokio::test]
async fn a_failing_step_is_an_error_and_passes_its_error_on() {
    let receiver = Receiver::start();
    let _turn = process_wide(receiver.client()).await;

    let result: Result<(), _> = step("fails", async { Err("no luck") }).await;

    assert_eq!(result, Err("no luck"));
    let trees = receiver.trees().await;
    assert!(trees.contains("ERROR") && trees.contains("no luck"), "{trees}");
}

#[tokio::test]
async fn a_step_within_an_observation_of_another_client_is_its_child_and_flushes_it() {
    let receiver = Receiver::start();
    let other = receiver.client();
    let root = other.observe("root").start();

    let result = root.scope(step("within", async { Ok::<_, String>(()) })).await;

    assert_eq!(result, Ok(()));
    assert_eq!(receiver.row("within").await["parentObservationId"], root.id().to_hex());
}

#[tokio::test]
async fn a_workflow_that_panics_is_flushed_and_panics_on() {
    struct Panics;
    impl Workflow<()> for Panics {
        type Output = ();
        async fn run(&self, (): ()) {
            let _open = langfuse().observe("doomed").start();
            panic!("on purpose");
        }
    }
    let receiver = Receiver::start();
    let _turn = process_wide(receiver.client()).await;

    let run = tokio::spawn(async { run_workflow_with_flush(&Panics, ()).await });

    assert!(run.await.expect_err("it panics").is_panic());
    let trees = receiver.trees().await;
    assert!(trees.contains("doomed") && trees.contains("ERROR"), "{trees}");
}

#[tokio::test]
async fn a_workflow_that_is_dropped_midway_is_flushed_in_the_background() {
    let receiver = Receiver::start();
    let _turn = process_wide(receiver.client()).await;
    let workflow = async |(): ()| {
        langfuse().observe("begun").start().end();
        std::future::pending::<()>().await;
    };
    {
        let mut run = pin!(run_workflow_with_flush(&workflow, ()));
        let poll = run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(poll, Poll::Pending);
    }

    delivered(1).await;

    assert_eq!(receiver.state("observations").await, 1);
}

#[tokio::test]
async fn a_workflow_that_takes_too_long_is_flushed_in_the_background_and_handlers_finish_first() {
    let receiver = Receiver::start();
    let _turn = process_wide(receiver.client()).await;
    let added = add_flush_handler(|_| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        langfuse().observe("from a handler").start().end();
        Ok::<_, String>(())
    });
    let workflow = async |(): ()| step("waits", std::future::pending::<Result<(), String>>()).await;

    let run = timeout(Duration::from_millis(50), run_workflow_with_flush(&workflow, ())).await;

    assert!(run.is_err());
    delivered(2).await;
    added.remove();
    let waits = receiver.row("waits").await;
    assert_eq!(
        (&waits["level"], &waits["statusMessage"]),
        (&"WARNING".into(), &"dropped before it was complete".into())
    );
    receiver.row("from a handler").await;
}

#[tokio::test]
async fn a_workflow_gives_what_it_gave_or_failed_with_whatever_becomes_of_the_flush() {
    async fn record(result: Result<u32, String>) -> Result<u32, String> {
        langfuse().observe("work").start().end();
        result
    }
    let receiver = Receiver::start();
    let refused = Options::default().keys("pk-lf-dev", "sk-lf-wrong").base_url(&receiver.url);
    let refused = Langfuse::new(&refused).expect("valid options");
    for (client, arrived) in [(receiver.client(), 2), (refused, 0)] {
        let _turn = process_wide(client).await;
        let before = receiver.state("observations").await;

        let given = run_workflow_with_flush(&record, Ok(7)).await;
        let failed = run_workflow_with_flush(&record, Err("own".to_owned())).await;

        assert_eq!((given, failed), (Ok(7), Err("own".to_owned())));
        assert_eq!(receiver.state("observations").await - before, arrived);
    }
}

#[tokio::test]
async fn a_workflow_that_panics_before_its_first_await_is_flushed_and_panics_on_also_when_the_flush_fails() {
    struct Eager;
    impl Workflow<()> for Eager {
        type Output = ();
        fn run(&self, (): ()) -> impl Future<Output = ()> {
            langfuse().observe("eager").start().end();
            assert!(!langfuse().is_enabled(), "on purpose");
            std::future::ready(())
        }
    }
    let receiver = Receiver::start();
    for (fault, arrived) in [("{}", 1), (r#"{"status": 401}"#, 1)] {
        receiver.fault(fault).await;
        let _turn = process_wide(receiver.client()).await;

        let panic = tokio::spawn(async { run_workflow_with_flush(&Eager, ()).await }).await;

        let panic = panic.expect_err("it panics").into_panic();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose"));
        assert_eq!(receiver.state("observations").await, arrived);
        receiver.fault("{}").await;
    }
}

#[tokio::test]
async fn several_workflows_at_a_time_are_each_delivered_when_they_return() {
    let receiver = Receiver::start();
    let _turn = process_wide(receiver.client()).await;
    let workflow = async |number: u32| {
        step("root", async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            step("leaf", async { Ok::<_, String>(number) }).await
        })
        .await
    };

    let runs = (0..20).map(|number| run_workflow_with_flush(&workflow, number));
    let results = futures_util::future::join_all(runs).await;

    assert_eq!(results, (0..20).map(Ok).collect::<Vec<_>>());
    assert_eq!((receiver.state("observations").await, receiver.state("duplicates").await), (40, 0));
    assert_eq!(receiver.trees().await.matches("SPAN     root\n└─ SPAN  leaf").count(), 20);
}

#[tokio::test]
async fn several_workflows_recorded_before_one_flush_travel_in_one_request() {
    let receiver = Receiver::start();
    let _turn = process_wide(receiver.client()).await;
    for name in ["a", "b", "c"] {
        langfuse().observe(name).run(async { langfuse().observe("work").start().end() }).await;
    }

    let report = flush_langfuse().await;

    assert_eq!((report.ok, report.delivered, report.requests), (true, 6, 1));
}

async fn delivered(count: u64) {
    let start = Instant::now();
    while langfuse().stats().delivered < count {
        tokio::task::yield_now().await;
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", langfuse().stats());
    }
}

#[tokio::test]
async fn without_langfuse_workflows_run_as_they_are() {
    let _turn = process_wide(Langfuse::disabled()).await;

    let output =
        run_workflow_with_flush(&async |number: u32| step("x", async { Ok::<_, String>(number) }).await, 7);

    assert_eq!(output.await, Ok(7));
    assert!(flush_langfuse().await.ok);
}
