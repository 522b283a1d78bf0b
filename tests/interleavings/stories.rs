//! What the threads of a program and the sending thread share, in whatever order they come to it: each story is told
//! thousands of times, and shuttle decides who goes on wherever somebody locks, sends or waits. When nobody can go on any more, it
//! says so: a record that nobody sends and a report that nobody gives end a story like that.

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use shuttle::rand::{Rng as _, thread_rng};
use shuttle::{check_pct, check_random, thread};

use super::driver::Driver;
use super::threads::SERVER;
use crate::config::{Config, Options, Setting, Setup};
use crate::exporter::FlushSettings;
use crate::id::{ObservationId, SpanContext, TraceId};
use crate::observation::{Attributes, ObservationData, ObservationKind};
use crate::report::Stats;
use crate::time::Timestamp;
use crate::wire::{Record, encode};

const TIMES: usize = 2000;
/// Of a story that takes long to tell.
const FEWER_TIMES: usize = 100;
/// So many times somebody is interrupted where it matters.
const DEPTH: usize = 4;
const BUDGET: Duration = Duration::from_secs(30);
/// For stories in which nothing is sent that nobody flushes.
const NEVER: [(Setting, &str); 2] = [(Setting::FlushInterval, "0"), (Setting::FlushAt, "100000")];

#[test]
fn what_threads_record_is_sent_though_nobody_flushes() {
    tell(TIMES, || {
        let driver = start([(Setting::FlushAt, ["2", "100"][thread_rng().gen_range(0..2)])]);
        for round in 0..3 {
            let count = thread_rng().gen_range(1..4);
            in_two_threads(&driver, move |driver, thread| {
                for number in 0..count {
                    record(driver, 10 * round + number + 4 * thread, 1);
                    dawdle();
                }
            });
            // In the next round the thread has long gone to sleep, or has not yet.
            if thread_rng().gen_range(0..2) == 0 {
                SERVER.wait_for_all(&driver);
                dawdle();
            }
        }
        SERVER.wait_for_all(&driver);
        assert_eq!(SERVER.most_at_once(), 1, "there is one flush that nobody has asked for");
    });
}

#[test]
fn what_fills_a_batch_is_sent_though_the_interval_is_never_over() {
    tell(FEWER_TIMES, || {
        let driver = start([(Setting::FlushInterval, "0"), (Setting::FlushAt, "400")]);
        record(&driver, 0, 396);
        in_two_threads(&driver, |driver, thread| record(driver, thread + 1, 2));
        SERVER.wait_for(400);
    });
}

#[test]
fn what_a_thread_has_recorded_has_arrived_when_its_flush_is_over() {
    tell(TIMES, || {
        let driver = start(NEVER);
        SERVER.fail(thread_rng().gen_range(0..3));
        in_two_threads(&driver, |driver, thread| {
            let names = record(driver, thread, 2);
            let report = if thread == 0 {
                driver.flush_blocking(BUDGET.into())
            } else {
                shuttle::future::block_on(driver.flush(BUDGET.into()))
            };
            assert!(report.ok, "{report:?}");
            assert!(names.iter().all(|name| SERVER.has(name)));
        });
        SERVER.wait_for(4);
    });
}

#[test]
fn a_flush_whose_future_is_dropped_goes_on() {
    tell(TIMES, || {
        let driver = start(NEVER);
        in_two_threads(&driver, |driver, thread| {
            record(driver, thread, 2);
            let polls = thread_rng().gen_range(0..3);
            shuttle::future::block_on(polled(driver.flush(BUDGET.into()), polls));
        });
        SERVER.wait_for(4);
    });
}

#[test]
fn when_the_last_handle_is_gone_everything_has_arrived() {
    tell(TIMES, || {
        let driver = start(NEVER);
        SERVER.fail(thread_rng().gen_range(0..2));
        let names = in_two_threads(&driver, |driver, thread| {
            let names = record(driver, thread, 2);
            if thread_rng().gen_range(0..2) == 0 {
                drop(driver.flush(BUDGET.into()));
            }
            names
        });
        drop(driver);
        assert!(names.iter().flatten().all(|name| SERVER.has(name)));
        SERVER.wait_for(4);
    });
}

#[test]
fn what_the_last_handle_has_no_time_for_is_sent_when_it_is_gone() {
    tell(TIMES, || {
        let driver = start(NEVER);
        SERVER.fail(6);
        record(&driver, 0, 2);
        drop(driver);
        SERVER.wait_for(2);
    });
}

#[test]
fn a_flush_outlives_the_client() {
    tell(TIMES, || {
        let driver = start(NEVER);
        let flushed = in_two_threads(&driver, |driver, thread| {
            record(driver, thread, 2);
            driver.flush(BUDGET.into())
        });
        drop(driver);
        for flush in flushed {
            let report = shuttle::future::block_on(flush);
            assert!(report.ok, "{report:?}");
        }
        SERVER.wait_for(4);
    });
}

#[test]
fn who_keeps_no_client_alive_gets_a_report_or_learns_that_there_is_none() {
    tell(TIMES, || {
        let driver = start(NEVER);
        let remote = driver.remote();
        let signalled = thread::spawn(move || shuttle::future::block_on(remote.flush(BUDGET.into())));
        record(&driver, 0, 2);
        drop(driver);
        if let Some(report) = signalled.join().unwrap() {
            assert!(report.ok, "{report:?}");
        }
        SERVER.wait_for(2);
    });
}

#[test]
fn what_comes_while_a_client_is_shut_down_is_delivered_or_dropped_and_counted() {
    tell(TIMES, || {
        let driver = start(NEVER);
        in_two_threads(&driver, |driver, thread| {
            record(driver, thread, 3);
            if thread == 0 {
                let report = driver.flush_blocking(FlushSettings::last(BUDGET));
                assert_eq!(report.retained, 0);
            }
        });
        let Stats { recorded, delivered, dropped, queued, leased, .. } = driver.stats();
        assert_eq!((recorded, delivered + dropped, queued + leased), (6, 6, 0));
        SERVER.wait_for(delivered as usize);
    });
}

/// In any order, and in those orders that take few, but badly timed interruptions.
fn tell(times: usize, story: fn()) {
    check_random(story, times);
    check_pct(story, times, DEPTH);
}

fn start(settings: impl IntoIterator<Item = (Setting, &'static str)>) -> Arc<Driver> {
    let options = Options::default().keys("pk-lf-story", "sk-lf-story").base_url("http://server");
    let options =
        settings.into_iter().fold(options, |options, (setting, value)| options.with(setting, value));
    let Ok(Setup::Enabled(config)) = options.parse() else { panic!("the options are valid") };
    let config: Config = *config;
    Arc::new(Driver::start(&config).expect("it starts"))
}

/// Each has a clone; what both give comes back when they have ended.
fn in_two_threads<T: Send + 'static>(
    driver: &Arc<Driver>,
    work: impl Fn(&Driver, u8) -> T + Copy + Send + 'static,
) -> [T; 2] {
    let threads = [0, 1].map(|number| {
        let driver = Arc::clone(driver);
        thread::spawn(move || work(&driver, number))
    });
    threads.map(|thread| thread.join().unwrap())
}

/// Lets others go on for a while.
fn dawdle() {
    for _ in 0..thread_rng().gen_range(0..20) {
        thread::yield_now();
    }
}

/// Records so many observations and gives their names.
fn record(driver: &Driver, thread: u8, count: usize) -> BTreeSet<String> {
    let names = (0..count).map(|number| format!("{number} of thread {thread}"));
    names.inspect(|name| driver.push(observation(name))).collect()
}

fn observation(name: &str) -> Record {
    let context = SpanContext {
        trace_id: TraceId::from_seed(name),
        observation_id: ObservationId::from_random([7; 8]),
    };
    let observation = ObservationData {
        context,
        parent: None,
        is_local_root: true,
        kind: ObservationKind::Span,
        name: name.to_owned(),
        start: Timestamp::default(),
        attributes: Attributes::default(),
        trace: Arc::default(),
    };
    encode(observation, Timestamp::default(), None, None)
}

/// Polls the future so many times at most, and drops it.
async fn polled(future: impl Future, times: usize) {
    let mut future = pin!(future);
    let mut left = times;
    poll_fn(|context| match left.checked_sub(1) {
        Some(less) if future.as_mut().poll(context).is_pending() => {
            left = less;
            context.waker().wake_by_ref();
            Poll::Pending
        }
        _ => Poll::Ready(()),
    })
    .await;
}
