//! How steps flush.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use langfuse_edge::config::Setting;
use langfuse_edge::{Langfuse, ObservationKind, StepFlush, observe, step};
use tokio::time::{Instant, timeout};

use crate::receiver::Receiver;

#[tokio::test]
async fn steps_that_end_together_share_a_flush() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let names = ["a", "b", "c", "d", "e"];

    let together = async {
        // Time enough for the first one's flush, if it began at once.
        let busy = async || {
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(20) {}
            Ok::<_, String>(())
        };
        futures_util::future::join_all(names.map(|name| step(name, busy()))).await;
        assert_eq!((receiver.state("observations").await, receiver.state("requests").await), (5, 1));
        Ok::<_, String>(())
    };
    let result = langfuse.observe("root").step(StepFlush::default(), together).await;

    assert_eq!(result, Ok(()));
    assert_eq!((receiver.state("observations").await, receiver.state("requests").await), (6, 2));
    let root = receiver.row("root").await;
    for name in names {
        assert_eq!(receiver.row(name).await["parentObservationId"], root["id"]);
    }
}

#[tokio::test]
async fn a_step_waits_a_second_for_its_flush_which_then_goes_on_in_the_background() {
    let receiver = Receiver::start();
    receiver.fault(r#"{"delayMs": 2500}"#).await;
    let langfuse = patient(&receiver);
    let start = Instant::now();

    let result = langfuse.observe("slow").run(step("within", async { Ok::<_, String>(7) })).await;

    assert_eq!((result, langfuse.stats().delivered), (Ok(7), 0));
    assert!(start.elapsed() >= Duration::from_millis(990), "{:?}", start.elapsed());
    delivered(&langfuse, 1).await;
    assert_eq!((receiver.state("observations").await, receiver.state("duplicates").await), (1, 0));
}

#[tokio::test]
async fn a_step_in_the_background_never_waits_and_one_without_a_flush_goes_with_the_next() {
    let receiver = Receiver::start();
    receiver.fault(r#"{"delayMs": 500}"#).await;
    let langfuse = patient(&receiver);

    let lookup = langfuse.observe("not waited for").kind(ObservationKind::Tool).input("order 7");
    let found = lookup.step(StepFlush::in_background(), async { Ok::<_, String>("shipped") }).await;

    assert_eq!((found, langfuse.stats().delivered), (Ok("shipped"), 0));
    delivered(&langfuse, 1).await;
    let quiet = langfuse.observe("with the next").step(StepFlush::none(), async { Ok::<_, String>(()) });
    assert_eq!(quiet.await, Ok(()));
    assert_eq!((langfuse.stats().queued, receiver.state("requests").await), (1, 1));
    assert!(langfuse.flush().await.ok);
    assert_eq!(receiver.state("observations").await, 2);
    assert_eq!(receiver.row("not waited for").await["type"], "TOOL");
}

#[tokio::test]
async fn a_step_that_fails_is_flushed_as_well_and_passes_its_error_on() {
    let receiver = Receiver::start();
    let langfuse = patient(&receiver);

    let failed =
        langfuse.observe("fails").step(StepFlush::default(), async { Err::<(), _>("no luck") }).await;

    assert_eq!(failed, Err("no luck"));
    let row = receiver.row("fails").await;
    assert_eq!((&row["level"], &row["statusMessage"]), (&"ERROR".into(), &"no luck".into()));
}

#[tokio::test]
async fn a_step_that_panics_or_is_dropped_midway_is_flushed_in_the_background() {
    let receiver = Receiver::start();
    let langfuse = patient(&receiver);
    let panicking = langfuse.observe("panics").step(StepFlush::default(), async {
        assert!(langfuse_edge::current_observation().is_none(), "on purpose");
        Ok::<_, String>(())
    });

    assert!(tokio::spawn(panicking).await.expect_err("it panics").is_panic());
    {
        let pending = std::future::pending::<Result<(), String>>();
        let mut dropped = pin!(langfuse.observe("dropped").step(StepFlush::default(), pending));
        assert_eq!(dropped.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending);
    }

    delivered(&langfuse, 2).await;
    assert_eq!(receiver.row("panics").await["level"], "ERROR");
    assert_eq!(receiver.row("dropped").await["level"], "WARNING");
}

#[tokio::test]
async fn a_server_that_is_down_costs_a_step_a_second_at_most_and_changes_nothing_else() {
    let receiver = Receiver::start();
    receiver.fault(r#"{"hang": true}"#).await;
    let langfuse = patient(&receiver);
    let start = Instant::now();

    let outer = langfuse.observe("outer").step(
        StepFlush::wait_at_most(Duration::from_millis(200)),
        observe("inner").step(StepFlush::wait_at_most(Duration::from_millis(200)), async { Err::<(), _>(7) }),
    );

    assert_eq!(outer.await, Err(7));
    // The flush itself goes on for 10 s.
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    receiver.fault("{}").await;
    assert!(langfuse.flush().await.ok);
}

#[tokio::test]
async fn steps_of_a_disabled_client_run_as_they_are() {
    let langfuse = Langfuse::disabled();

    let result = langfuse.observe("quiet").step(StepFlush::default(), async { Ok::<_, String>(1) }).await;

    assert_eq!(result, Ok(1));
}

#[test]
fn a_step_waits_without_a_runtime() {
    let receiver = Receiver::start();
    let langfuse = patient(&receiver);

    let step = langfuse.observe("alone").step(StepFlush::default(), async { Ok::<_, String>(1) });

    assert_eq!(futures_executor(step), Ok(1));
    assert_eq!(langfuse.stats().delivered, 1);
}

#[tokio::test]
async fn a_step_within_steps_takes_no_more_memory_the_deeper_it_is() {
    let langfuse = Langfuse::disabled();
    let large = [0_u8; 1024];
    let innermost = async move {
        tokio::task::yield_now().await;
        Ok::<_, String>(large.len())
    };
    let observed = langfuse.observe("1").try_run(langfuse.observe("2").try_run(innermost));
    let size = size_of_val(&observed);
    assert!(size < 2 * large.len(), "{size} bytes");

    let deep = step("3", step("4", step("5", observed)));
    let size = size_of_val(&deep);
    assert!(size < large.len(), "{size} bytes");
    assert_eq!(deep.await, Ok(large.len()));
}

/// The least that can run a future: it parks its thread.
fn futures_executor<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(std::sync::Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// A client that sends nothing by itself.
fn patient(receiver: &Receiver) -> Langfuse {
    let options = receiver.options().with(Setting::FlushAt, "1000000").with(Setting::FlushInterval, "0");
    Langfuse::new(&options).expect("valid options")
}

async fn delivered(langfuse: &Langfuse, count: u64) {
    let all = async {
        while langfuse.stats().delivered < count {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), all).await.expect("it goes on in the background");
}
