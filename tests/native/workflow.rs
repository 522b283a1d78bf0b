use std::pin::pin;
use std::task::{Context, Poll, Waker};

use langfuse_edge::{
    Langfuse, Workflow, flush_langfuse, langfuse, run_workflow_with_flush, set_langfuse, step,
};
use tokio::sync::Mutex;

use crate::receiver::Receiver;

/// The client is the process's, so these tests take turns.
static TURN: Mutex<()> = Mutex::const_new(());

#[tokio::test]
async fn steps_are_visible_before_the_workflow_ends_and_nest_by_themselves() {
    let _turn = TURN.lock().await;
    let receiver = Receiver::start();
    set_langfuse(receiver.client());
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
    let _turn = TURN.lock().await;
    let receiver = Receiver::start();
    set_langfuse(receiver.client());

    let result: Result<(), _> = step("fails", async { Err("no luck") }).await;

    assert_eq!(result, Err("no luck"));
    let trees = receiver.trees().await;
    assert!(trees.contains("ERROR") && trees.contains("no luck"), "{trees}");
}

#[tokio::test]
async fn a_step_within_an_observation_of_another_client_is_its_child() {
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
    let _turn = TURN.lock().await;
    let receiver = Receiver::start();
    set_langfuse(receiver.client());

    let run = tokio::spawn(async { run_workflow_with_flush(&Panics, ()).await });

    assert!(run.await.expect_err("it panics").is_panic());
    let trees = receiver.trees().await;
    assert!(trees.contains("doomed") && trees.contains("ERROR"), "{trees}");
}

#[tokio::test]
async fn a_workflow_that_is_dropped_midway_is_flushed_in_the_background() {
    let _turn = TURN.lock().await;
    let receiver = Receiver::start();
    set_langfuse(receiver.client());
    let workflow = async |(): ()| {
        langfuse().observe("begun").start().end();
        std::future::pending::<()>().await;
    };
    {
        let mut run = pin!(run_workflow_with_flush(&workflow, ()));
        let poll = run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(poll, Poll::Pending);
    }

    while langfuse().stats().delivered == 0 {
        tokio::task::yield_now().await;
    }

    assert_eq!(receiver.state("observations").await, 1);
}

#[tokio::test]
async fn without_langfuse_workflows_run_as_they_are() {
    let _turn = TURN.lock().await;
    set_langfuse(Langfuse::disabled());

    let output =
        run_workflow_with_flush(&async |number: u32| step("x", async { Ok::<_, String>(number) }).await, 7);

    assert_eq!(output.await, Ok(7));
    assert!(flush_langfuse().await.ok);
}
