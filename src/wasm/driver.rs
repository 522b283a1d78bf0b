//! Drives the exporter with promises and callbacks.
//!
//! It does not use the executor of wasm-bindgen-futures: that is one queue for all requests of an isolate, it runs one
//! request's work in another's turn, and a terminated request can stop it for good. What crosses from one request to
//! the next is the exporter's plain data.
//!
//! One closure serves all flushes of all clients. What it is about is bound to it as numbers, so a flush that is
//! never continued leaks nothing.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use js_sys::{Function, Object};
use wasm_bindgen::prelude::*;
use web_sys::{AbortController, Response};

use super::host::{self, Account, Promise, Sent, Target, Timer};
use crate::config::Config;
use crate::error::Error;
use crate::exporter::{Action, Exporter, FlushId, FlushSettings, LeaseId, Pushed, Request, Settings};
use crate::health::Health;
use crate::report::{DropReason, FlushReport, Stats};
use crate::retry::Outcome;
use crate::table::Table;
use crate::time::Timestamp;
use crate::wire::Record;

const QUEUE_IS_FULL: &str = "langfuse-edge: more than 16 MiB or 100000 observations wait, \
    so the oldest are dropped: flush more often";

/// A client's place in the table of clients. When it is dropped, flushes that are under way still end well.
#[derive(Debug)]
pub(crate) struct Driver {
    client: u32,
}

struct Client {
    exporter: RefCell<Exporter>,
    target: Target,
    /// By flush or lease, with the time they were set for. Dropping one clears it, a call into JavaScript, so that
    /// is done after the borrow.
    timers: RefCell<Table<(Timestamp, Timer)>>,
    /// It was said that records are dropped, and since then no flush has delivered everything.
    has_warned: Cell<bool>,
    /// Outside of this module's state, so that what is lost with it can be counted.
    account: OnceCell<Account>,
    /// Its [`Driver`] is gone; the last flush removes it.
    is_orphan: Cell<bool>,
    /// The npm package has its own, outside of this module.
    #[cfg(not(feature = "js"))]
    health: RefCell<Health>,
}

/// Takes a step, a client, a flush or lease, what was bound to it, and what the promise was settled with.
type Callback = Closure<dyn Fn(Step, u32, f64, JsValue, JsValue) -> JsValue>;

type Step = u32;
/// What a flush waited for has come.
const POLL: Step = 0;
/// A request has an answer.
const READ_ANSWER: Step = 1;
/// The answer has been read.
const TAKE_ANSWER: Step = 2;
/// There is no answer, or not in time.
const TAKE_FAILURE: Step = 3;
/// A promise that a timer fulfils is being made.
const START_TIMER: Step = 4;
/// The overflow has accepted a batch, or not, or not in time.
const TAKE_HAND_OVER: Step = 5;

thread_local! {
    static CLIENTS: RefCell<Clients> = const { RefCell::new(Clients { last: 0, table: Table::new() }) };
    static CALLBACK: OnceCell<Callback> = const { OnceCell::new() };
}

struct Clients {
    last: u32,
    table: Table<Rc<Client>>,
}

fn client(client: u32) -> Option<Rc<Client>> {
    CLIENTS.with_borrow(|clients| clients.table.get(u64::from(client)).cloned())
}

fn bound(step: Step, client: u32, id: f64, extra: &JsValue) -> Function {
    CALLBACK.with(|callback| {
        let callback = callback.get_or_init(|| Closure::new(take_step)).as_ref();
        callback.unchecked_ref::<host::Callback>().bind(&JsValue::UNDEFINED, step, client, id, extra)
    })
}

fn take_step(step: Step, client: u32, id: f64, extra: JsValue, settled: JsValue) -> JsValue {
    if step == READ_ANSWER {
        return read_answer(client, id, &settled);
    }
    let Some(this) = self::client(client) else { return JsValue::UNDEFINED };
    match step {
        POLL => this.poll(client, FlushId::from_f64(id), &extra),
        TAKE_HAND_OVER => this.take_hand_over(LeaseId::from_f64(id), &settled),
        TAKE_ANSWER => this.take_answer(LeaseId::from_f64(id), extra.unchecked_ref(), &settled),
        START_TIMER => this.start_timer(id, &extra, &settled),
        _ => {
            let abort = (!extra.is_undefined()).then(|| extra.unchecked_ref());
            this.take_failure(LeaseId::from_f64(id), abort)
        }
    }
}

impl Driver {
    #[expect(
        clippy::unnecessary_wraps,
        reason = "the native driver, which has the same face, can fail to start"
    )]
    pub(crate) fn start(config: &Config) -> Result<Self, Error> {
        let settings = Settings {
            attempt_timeout: config.timeout(),
            gives_up_ambiguous: config.gives_up_ambiguous(),
            ..Settings::default()
        };
        let this = Client {
            exporter: RefCell::new(Exporter::new(settings)),
            target: Target::new(config),
            timers: RefCell::default(),
            has_warned: Cell::new(false),
            account: OnceCell::new(),
            is_orphan: Cell::new(false),
            #[cfg(not(feature = "js"))]
            health: RefCell::default(),
        };
        let client = CLIENTS.with_borrow_mut(|clients| {
            clients.last += 1;
            clients.table.insert(u64::from(clients.last), Rc::new(this));
            clients.last
        });
        Ok(Self { client })
    }

    pub(crate) fn push(&self, record: Record) {
        let now = host::now();
        let warns = self.with(|this| {
            let mut exporter = this.exporter.borrow_mut();
            let before = exporter.stats().dropped;
            let pushed = exporter.push(record, now);
            let is_closed = pushed == Pushed::Dropped(DropReason::Shutdown);
            let has_dropped = exporter.stats().dropped > before && !is_closed;
            drop(exporter);
            this.keep_account();
            has_dropped && !this.has_warned.replace(true)
        });
        if warns {
            host::warn(QUEUE_IS_FULL);
        }
    }

    /// From now on `account` says how many records would be lost with this module's state.
    #[cfg(feature = "js")]
    pub(crate) fn set_account(&self, account: Account) {
        // A client has one for its lifetime.
        self.with(|this| drop(this.account.set(account)));
    }

    #[cfg(feature = "js")]
    pub(crate) fn count_lost(&self, records: u64) {
        self.with(|this| this.exporter.borrow_mut().count_lost(records));
    }

    pub(crate) fn stats(&self) -> Stats {
        self.with(|this| this.exporter.borrow().stats())
    }

    /// Begins a flush. The promise is fulfilled with the report as a JavaScript object; it is never rejected.
    ///
    /// `overflow`, if it is a function, is given what cannot be delivered.
    pub(crate) fn start_flush(&self, settings: FlushSettings, overflow: &JsValue) -> Promise {
        let now = host::now();
        let flush = self.with(|this| {
            this.forget_dead_timers(now);
            this.exporter.borrow_mut().begin_flush(settings, now)
        });
        Promise::resolve(&self.with(|this| this.poll(self.client, flush, overflow)))
    }

    pub(crate) fn flush(&self, settings: FlushSettings) -> impl Future<Output = FlushReport> + use<> {
        let promise: js_sys::Promise = self.start_flush(settings, &JsValue::UNDEFINED).unchecked_into();
        async move {
            match wasm_bindgen_futures::JsFuture::from(promise).await {
                Ok(report) => serde_wasm_bindgen::from_value(report).unwrap_or_default(),
                Err(_) => FlushReport::default(),
            }
        }
    }

    #[expect(clippy::unused_self, reason = "the native driver, which has the same face, has the timer")]
    pub(crate) fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + use<> {
        host::sleep(duration)
    }

    pub(crate) fn health(&self) -> Health {
        self.with(Client::health)
    }

    fn with<T>(&self, act: impl FnOnce(&Client) -> T) -> T {
        act(&client(self.client).expect_throw("a client stays in the table as long as its driver"))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let is_flushing = self.with(|this| {
            this.is_orphan.set(true);
            this.exporter.borrow().is_flushing()
        });
        if !is_flushing {
            remove_client(self.client);
        }
    }
}

/// The client is dropped after the borrow: its timers call into JavaScript when they are.
fn remove_client(client: u32) {
    let removed = CLIENTS.with_borrow_mut(|clients| clients.table.remove(u64::from(client)));
    drop(removed);
}

impl Client {
    /// The report when the flush is over, else a promise of it. Host functions are called before and after a borrow,
    /// never under one: whatever ends the request there must leave the exporter usable.
    fn poll(&self, client: u32, flush: FlushId, overflow: &JsValue) -> JsValue {
        self.drop_timer(flush.as_f64());
        let mut now = host::now();
        let settled = loop {
            let action = self.exporter.borrow_mut().poll(flush, now);
            self.keep_account();
            match action {
                Action::Send(request) => break self.send(client, &request),
                Action::HandOver(request) => break self.hand_over(client, &request, overflow),
                Action::WaitUntil(time) => match self.wait(client, flush.as_f64(), time.since(now)) {
                    Some(promise) => break promise,
                    // Where nothing can be waited for, time passes at once.
                    None => now = time,
                },
                Action::Done(report) => {
                    #[cfg(not(feature = "js"))]
                    self.health.borrow_mut().note(&report, now);
                    if report.ok {
                        self.has_warned.set(false);
                    }
                    if self.is_orphan.get() && !self.exporter.borrow().is_flushing() {
                        remove_client(client);
                    }
                    return host::report_object(&report);
                }
            }
        };
        let poll = bound(POLL, client, flush.as_f64(), overflow);
        settled.then(&poll, &poll).into()
    }

    /// Sends a request. The promise is settled when its outcome has been handed to the exporter.
    fn send(&self, client: u32, request: &Request) -> Promise {
        let lease = request.lease.as_f64();
        let headers = self.account.get().map_or_else(Object::new, Account::headers);
        let Ok(Sent { response, abort }) = self.target.post(request.kind, &request.body, &headers) else {
            return Promise::resolve(&self.take_failure(request.lease, None));
        };
        let failed = bound(TAKE_FAILURE, client, lease, &JsValue::UNDEFINED);
        let answered = response.then(&bound(READ_ANSWER, client, lease, &JsValue::UNDEFINED), &failed);
        // An own timer beside the signal: a `fetch` that somebody wrapped may ignore the signal.
        let Some(elapsed) = self.wait(client, lease, request.timeout) else { return answered };
        let too_late = bound(TAKE_FAILURE, client, lease, &abort.into());
        host::first_of(&answered, &elapsed.then(&too_late, &too_late))
    }

    /// Gives a batch to the overflow. The promise is settled when the exporter knows whether that has accepted it.
    fn hand_over(&self, client: u32, request: &Request, overflow: &JsValue) -> Promise {
        let lease = request.lease.as_f64();
        let given = host::give(overflow, request.kind, &request.body);
        let Ok(given) = given else {
            return Promise::resolve(&self.take_hand_over(request.lease, &JsValue::UNDEFINED));
        };
        let take = bound(TAKE_HAND_OVER, client, lease, &JsValue::UNDEFINED);
        let accepted = given.then(&take, &take);
        match self.wait(client, lease, request.timeout) {
            Some(elapsed) => host::first_of(&accepted, &elapsed.then(&take, &take)),
            None => accepted,
        }
    }

    /// The overflow accepts with `true`, and with nothing else.
    fn take_hand_over(&self, lease: LeaseId, is_accepted: &JsValue) -> JsValue {
        self.drop_timer(lease.as_f64());
        let is_accepted = is_accepted.as_bool() == Some(true);
        self.exporter.borrow_mut().handle_hand_over(lease, is_accepted);
        self.keep_account();
        JsValue::UNDEFINED
    }

    fn take_answer(&self, lease: LeaseId, response: &Response, text: &JsValue) -> JsValue {
        let (status, retry_after) = host::response_head(response);
        let message = host::beginning(text);
        let verdicts = if status == 207 { host::verdicts(text) } else { Vec::new() };
        self.take_outcome(lease, &Outcome::Response { status, retry_after, message, verdicts })
    }

    /// `fetch` does not tell whether the body had been sent.
    fn take_failure(&self, lease: LeaseId, abort: Option<&AbortController>) -> JsValue {
        if let Some(abort) = abort {
            abort.abort();
        }
        self.take_outcome(lease, &Outcome::Failed { ambiguous: true })
    }

    fn take_outcome(&self, lease: LeaseId, outcome: &Outcome) -> JsValue {
        self.drop_timer(lease.as_f64());
        let now = host::now();
        self.exporter.borrow_mut().handle_response(lease, outcome, now);
        self.keep_account();
        JsValue::UNDEFINED
    }

    #[cfg(not(feature = "js"))]
    fn health(&self) -> Health {
        self.health.borrow().clone()
    }

    #[cfg(feature = "js")]
    fn health(&self) -> Health {
        Health::default()
    }

    fn keep_account(&self) {
        if let Some(account) = self.account.get() {
            let Stats { queued, leased, .. } = self.exporter.borrow().stats();
            account.set_held((queued + leased) as f64);
        }
    }

    /// A promise that is fulfilled after `duration`, unless the timer that it leaves under `id` is dropped before. None when the
    /// host sets no timers.
    fn wait(&self, client: u32, id: f64, duration: Duration) -> Option<Promise> {
        // Rounded up, so that what is due then is due.
        let millis = duration.as_secs() as u32 * 1000 + duration.subsec_nanos().div_ceil(1_000_000);
        let promise = Promise::new(&bound(START_TIMER, client, id, &millis.into()));
        let has_timer = self.timers.borrow().get(id as u64).is_some();
        has_timer.then_some(promise)
    }

    fn start_timer(&self, id: f64, millis: &JsValue, resolve: &JsValue) -> JsValue {
        let millis = millis.as_f64().unwrap_or_default();
        let time = host::now() + Duration::from_millis(millis as u64);
        let Some(timer) = Timer::start(resolve, millis) else { return JsValue::UNDEFINED };
        let replaced = self.timers.borrow_mut().insert(id as u64, (time, timer));
        drop(replaced);
        JsValue::UNDEFINED
    }

    fn drop_timer(&self, id: f64) {
        let timer = self.timers.borrow_mut().remove(id as u64);
        drop(timer);
    }

    /// Timers of requests that ended without a word never fire, and nobody else takes them away.
    fn forget_dead_timers(&self, now: Timestamp) {
        const GRACE: Duration = Duration::from_secs(60);
        let next = || self.timers.borrow_mut().remove_one(|(time, _)| *time + GRACE < now);
        while let Some(timer) = next() {
            drop(timer);
        }
    }
}

/// Reads the body, which frees the connection and has the words of a refusal.
fn read_answer(client: u32, lease: f64, response: &JsValue) -> JsValue {
    let take = bound(TAKE_ANSWER, client, lease, response);
    match host::response_text(response.unchecked_ref()) {
        Some(text) => text.then(&take, &take),
        None => Promise::resolve(&JsValue::UNDEFINED).then(&take, &take),
    }
    .into()
}
