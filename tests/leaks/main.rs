//! Memory does not grow with what was recorded. This is a program of its own because it counts what all of it allocates.

#[expect(dead_code, reason = "other stories ask more of it")]
#[path = "../it/body.rs"]
mod body;
#[expect(dead_code, reason = "other stories ask more of it")]
#[path = "../it/host.rs"]
mod host;
#[expect(dead_code, reason = "other stories ask more of it")]
#[path = "../native/receiver.rs"]
mod receiver;
#[expect(dead_code, reason = "other stories ask more of it")]
#[path = "../it/records.rs"]
mod records;

use std::alloc::System;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use langfuse_edge::Langfuse;
use langfuse_edge::exporter::Settings;
use langfuse_edge::open::Open;
use langfuse_edge::wire::RecordKind;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::host::{Answer, Host, Received, hang, millis, refused, reset, secs, status};
use crate::receiver::Receiver;
use crate::records::{observation, record_with_input, score};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What one test allocates, the other would count.
static TURN: Mutex<()> = Mutex::const_new(());

/// Bytes that are allocated and not freed.
fn live() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

const HOUR: u64 = 3600;

#[test]
fn hours_of_work_and_of_every_trouble_leave_the_exporter_as_small_as_the_first_one_did() {
    let _turn = TURN.blocking_lock();
    let mut settings = Settings::default();
    // Less than what comes while there is trouble.
    settings.queue_records = 1000;
    let mut host = Host::with(settings, a_server_with_troubles);
    let mut open = Open::new();
    let after_hours = [0, 1, 2].map(|hour| {
        for second in hour * HOUR..(hour + 1) * HOUR {
            work_for_a_second(&mut host, &mut open, second);
        }
        // Each hour ends with a server that has recovered.
        let report = host.flush_within(secs(60));
        assert_eq!(report.retained, 0, "{report:?}");
        forget_what_arrived(&mut host);
        live()
    });
    let stats = host.exporter.stats();
    assert!(stats.delivered > 50_000 && stats.rejected > 50 && stats.dropped > 1000, "{stats:?}");
    assert_eq!(after_hours[1], after_hours[2], "{after_hours:?}");
}

/// Each minute has its own, but for the first and the last of ten.
fn a_server_with_troubles(request: &Received) -> Answer {
    let minute = request.at.as_secs() / 60 % 10;
    let is_poisonous =
        || request.kind == RecordKind::Observation && request.ids().iter().any(|id| id % 997 == 0);
    match minute {
        1 => status(503),
        2 => hang(),
        3 if request.body.len() > 20_000 => status(413),
        4 => reset(),
        5 => refused(),
        6 => status(401),
        7 => status(429).retry_after("7"),
        8 => status(200).after(secs(9)),
        _ if is_poisonous() => status(400),
        _ => status(200),
    }
}

fn work_for_a_second(host: &mut Host, open: &mut Open, second: u64) {
    // Names of the same length.
    let first = 1_000_000 + second * 10;
    for number in first..first + 10 {
        host.push(record_with_input(number, (number % 500) as usize));
        let place = open.start(Box::new(observation(number)), host.clock());
        // Nobody ends a third of them.
        if number % 3 > 0 {
            open.end(place, observation(number).context);
        }
    }
    while open.take_neglected(host.clock()).is_some() {}
    host.push(score("quality"));
    match second % 10 {
        0 => drop(host.flush_within(secs(4))),
        5 => {
            // Its request dies.
            let flush = host.begin_flush(secs(30));
            host.run_until(host.now() + millis(second % 7));
            host.kill(flush);
        }
        _ => (),
    }
    host.run_until(secs(second + 1));
    forget_what_arrived(host);
}

fn forget_what_arrived(host: &mut Host) {
    host.requests = Vec::new();
}

#[tokio::test]
async fn clients_that_come_and_go_and_one_that_stays_leave_neither_memory_nor_threads_behind() {
    let _turn = TURN.lock().await;
    let receiver = Receiver::start();
    let stays = receiver.client();
    let all_threads = threads();
    let mut left = Vec::new();
    for _ in 0..7 {
        for round in 0..10 {
            let fault = [r#"{"status": 503, "first": 1}"#, r#"{"reset": true, "first": 1}"#, "{}"][round % 3];
            receiver.fault(fault).await;
            work(&stays).await;
            let goes = receiver.client();
            work(&goes).await;
            // It is flushed by being dropped, too.
            goes.observe("last").start().end();
        }
        let gone = async {
            while threads() > all_threads {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(60), gone).await.expect("the threads of clients end");
        left.push(live());
    }
    // Of three, because a connection that is just being closed has its buffers.
    let least = |some: &[usize]| some.iter().copied().min().unwrap_or_default();
    let growth = least(&left[4..]).saturating_sub(least(&left[..3]));
    assert!(growth < 16 * 1024, "{left:?}");
}

/// Observations, of which some are dropped and not ended, a score, and a flush that nobody waits for.
async fn work(langfuse: &Langfuse) {
    for number in 0..200 {
        let root = langfuse.observe("root").input(&number).start();
        let child = root.generation("child").model("gpt-4o").start();
        child.output(&"x".repeat(1000)).end();
        if number % 2 == 0 {
            root.end();
        }
    }
    let mut dropped = Box::pin(langfuse.flush());
    poll_fn(|context| {
        drop(pin!(&mut dropped).poll(context));
        Poll::Ready(())
    })
    .await;
    drop(dropped);
    let report = langfuse.flush_within(Duration::from_secs(20)).await;
    assert!(report.ok, "{report:?}");
}

/// Of this process.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}
