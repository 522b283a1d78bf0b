//! What stands for `src/native/threads.rs` here: threads, locks and time that shuttle schedules in every order it can think
//! of, and a server that remembers what has arrived.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use shuttle::rand::{Rng as _, thread_rng};
use shuttle::sync::Condvar;
use tokio::sync::mpsc;
use tokio::task::{JoinError, LocalSet};
use tokio::time::Instant;

pub(super) use shuttle::sync::Mutex;
pub(super) use shuttle::sync::atomic::AtomicBool;
pub(super) use shuttle::sync::mpsc::sync_channel;
pub(super) use shuttle::thread::{self, ThreadId};

pub(super) use tokio::sync::mpsc::UnboundedReceiver;
pub(super) use tokio::sync::oneshot;
pub(super) use tokio::task::{JoinHandle, spawn_local as spawn};

use super::driver::Driver;
use crate::config::Config;
use crate::error::Error;
use crate::exporter::Request;
use crate::retry::Outcome;
use crate::time::Timestamp;

/// The tasks of a thread take turns where they wait, and nowhere else, so tokio's own `LocalSet` has them.
pub(super) struct Runtime;

impl Runtime {
    pub(super) fn new(_thread_name: &str) -> io::Result<Self> {
        Ok(Self)
    }

    pub(super) fn run(self, future: impl Future) {
        shuttle::future::block_on(LocalSet::new().run_until(future));
    }
}

#[derive(Default)]
pub(super) struct JoinSet(tokio::task::JoinSet<()>);

impl JoinSet {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn spawn(&mut self, future: impl Future<Output = ()> + 'static) {
        self.0.spawn_local(future);
    }

    pub(super) fn try_join_next(&mut self) -> Option<Result<(), JoinError>> {
        self.0.try_join_next()
    }

    pub(super) async fn join_next(&mut self) -> Option<Result<(), JoinError>> {
        self.0.join_next().await
    }
}

/// Shuttle knows nothing of tokio's channels: another thread may have its turn before each step.
pub(super) struct UnboundedSender<T>(mpsc::UnboundedSender<T>);

pub(super) struct WeakUnboundedSender<T>(mpsc::WeakUnboundedSender<T>);

pub(super) fn unbounded_channel<T>() -> (UnboundedSender<T>, UnboundedReceiver<T>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (UnboundedSender(sender), receiver)
}

impl<T> UnboundedSender<T> {
    pub(super) fn send(&self, value: T) -> Result<(), mpsc::error::SendError<T>> {
        thread::yield_now();
        self.0.send(value)
    }

    pub(super) fn downgrade(&self) -> WeakUnboundedSender<T> {
        WeakUnboundedSender(self.0.downgrade())
    }
}

impl<T> fmt::Debug for UnboundedSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnboundedSender")
    }
}

impl<T> Drop for UnboundedSender<T> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            thread::yield_now();
        }
    }
}

impl<T> WeakUnboundedSender<T> {
    pub(super) fn upgrade(&self) -> Option<UnboundedSender<T>> {
        thread::yield_now();
        self.0.upgrade().map(UnboundedSender)
    }

    pub(super) fn strong_count(&self) -> usize {
        self.0.strong_count()
    }
}

shuttle::lazy_static! {
    static ref CLOCK: AtomicU64 = AtomicU64::new(0);
    pub(super) static ref SERVER: Server = Server::default();
}

/// Time passes while somebody sleeps, and only then.
pub(super) fn now() -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000) + Duration::from_nanos(CLOCK.load(Ordering::Relaxed))
}

pub(super) async fn sleep(duration: Duration) {
    let wakes = CLOCK.load(Ordering::Relaxed) + duration.as_nanos() as u64;
    a_while().await;
    CLOCK.fetch_max(wakes, Ordering::Relaxed);
}

/// The time may have come at once, or after whatever else happens: nobody knows how long anything takes.
pub(super) async fn timeout_at<F: Future>(_: Instant, future: F) -> Result<F::Output, ()> {
    let (mut future, mut time) = (pin!(future), pin!(a_while()));
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => time.as_mut().poll(context).map(Err),
    })
    .await
}

async fn a_while() {
    for _ in 0..thread_rng().gen_range(0..4) {
        tokio::task::yield_now().await;
    }
}

pub(super) struct Http;

impl Http {
    #[expect(clippy::unnecessary_wraps, reason = "as the one it stands for")]
    pub(super) fn new(config: &Config) -> Result<Self, Error> {
        assert!(!config.public_key().is_empty() && !config.secret_key().is_empty());
        Ok(Self)
    }

    pub(super) async fn post(&self, request: Request) -> Outcome {
        SERVER.begin();
        a_while().await;
        let status = SERVER.answer(&request);
        a_while().await;
        Outcome::Response { status, retry_after: None, message: String::new(), verdicts: Vec::new() }
    }
}

/// Counts how often each observation has arrived, by its name.
#[derive(Default)]
pub(super) struct Server {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Requests that are still to fail.
    failing: u32,
    arrived: BTreeMap<String, u32>,
    under_way: u32,
    most_under_way: u32,
}

impl Server {
    pub(super) fn fail(&self, requests: u32) {
        self.state.lock().unwrap().failing = requests;
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.state.lock().unwrap().arrived.contains_key(name)
    }

    /// Returns when so many observations have arrived, each of them once.
    pub(super) fn wait_for(&self, count: usize) {
        let state = self.state.lock().unwrap();
        let state = self.changed.wait_while(state, |state| state.arrived.len() < count).unwrap();
        assert!(state.arrived.values().all(|times| *times == 1), "{:?}", state.arrived);
    }

    /// Returns when everything that was recorded has arrived.
    pub(super) fn wait_for_all(&self, driver: &Driver) {
        self.wait_for(driver.stats().recorded as usize);
    }

    /// Requests that were under way at the same time.
    pub(super) fn most_at_once(&self) -> u32 {
        self.state.lock().unwrap().most_under_way
    }

    fn begin(&self) {
        let mut state = self.state.lock().unwrap();
        state.under_way += 1;
        state.most_under_way = state.most_under_way.max(state.under_way);
    }

    fn answer(&self, request: &Request) -> u16 {
        let mut state = self.state.lock().unwrap();
        state.under_way -= 1;
        if state.failing > 0 {
            state.failing -= 1;
            return 503;
        }
        let body = ExportTraceServiceRequest::decode(&request.body[..]).expect("it is one");
        let scopes = body.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        for span in scopes.flat_map(|scope| scope.spans) {
            *state.arrived.entry(span.name).or_default() += 1;
        }
        self.changed.notify_all();
        200
    }
}
