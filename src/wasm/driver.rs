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

use js_sys::Function;
use wasm_bindgen::prelude::*;
use web_sys::{AbortController, Response};

use super::host::{self, Account, Promise, Sent, Target, Timer};
use crate::config::Config;
use crate::error::Error;
use crate::exporter::{Action, Exporter, FlushId, LeaseId, Request, Settings};
use crate::report::{FlushReport, Stats};
use crate::retry::Outcome;
use crate::table::Table;
use crate::time::Timestamp;
use crate::wire::Record;

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
    /// Outside of this module's state, so that what is lost with it can be counted.
    account: OnceCell<Account>,
    /// Its [`Driver`] is gone; the last flush removes it.
    is_orphan: Cell<bool>,
}

type Callback = Closure<dyn Fn(u32, f64, JsValue, JsValue) -> JsValue>;

thread_local! {
    static CLIENTS: RefCell<Clients> = const { RefCell::new(Clients { last: 0, table: Table::new() }) };
    static CALLBACKS: Callbacks = Callbacks {
        poll: Closure::new(|client, flush, _, _| {
            with_client(client, |this| this.poll(client, FlushId::from_f64(flush)))
        }),
        read_answer: Closure::new(|client, lease, _, response| read_answer(client, lease, &response)),
        take_answer: Closure::new(|client, lease, response: JsValue, text: JsValue| {
            let lease = LeaseId::from_f64(lease);
            with_client(client, |this| this.take_answer(lease, response.unchecked_ref(), &text))
        }),
        take_failure: Closure::new(|client, lease, abort: JsValue, _| {
            let abort = (!abort.is_undefined()).then(|| abort.unchecked_ref());
            with_client(client, |this| this.take_failure(LeaseId::from_f64(lease), abort))
        }),
    };
}

struct Clients {
    last: u32,
    table: Table<Rc<Client>>,
}

/// Each takes a client, a flush or lease, what was bound to it, and what the promise was settled with.
struct Callbacks {
    poll: Callback,
    /// A request has an answer.
    read_answer: Callback,
    /// The answer has been read.
    take_answer: Callback,
    /// There is no answer, or not in time.
    take_failure: Callback,
}

fn client(client: u32) -> Option<Rc<Client>> {
    CLIENTS.with_borrow(|clients| clients.table.get(u64::from(client)).cloned())
}

fn with_client(client: u32, turn: impl FnOnce(&Client) -> JsValue) -> JsValue {
    self::client(client).map_or(JsValue::UNDEFINED, |this| turn(&this))
}

fn bound(callback: fn(&Callbacks) -> &Callback, client: u32, id: f64, extra: &JsValue) -> Function {
    CALLBACKS.with(|callbacks| {
        callback(callbacks).as_ref().unchecked_ref::<host::Callback>().bind(
            &JsValue::UNDEFINED,
            client,
            id,
            extra,
        )
    })
}

impl Driver {
    #[expect(
        clippy::unnecessary_wraps,
        reason = "the native driver, which has the same face, can fail to start"
    )]
    pub(crate) fn start(config: &Config) -> Result<Self, Error> {
        let settings = Settings { attempt_timeout: config.timeout(), ..Settings::default() };
        let this = Client {
            exporter: RefCell::new(Exporter::new(settings)),
            target: Target::new(config),
            timers: RefCell::default(),
            account: OnceCell::new(),
            is_orphan: Cell::new(false),
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
        self.with(|this| {
            this.exporter.borrow_mut().push(record, now);
            this.keep_account();
        });
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
    pub(crate) fn start_flush(&self, begin: impl FnOnce(&mut Exporter, Timestamp) -> FlushId) -> Promise {
        let now = host::now();
        let flush = self.with(|this| {
            this.forget_dead_timers(now);
            begin(&mut this.exporter.borrow_mut(), now)
        });
        Promise::resolve(&self.with(|this| this.poll(self.client, flush)))
    }

    pub(crate) async fn flush(&self, begin: impl FnOnce(&mut Exporter, Timestamp) -> FlushId) -> FlushReport {
        let promise: js_sys::Promise = self.start_flush(begin).unchecked_into();
        match wasm_bindgen_futures::JsFuture::from(promise).await {
            Ok(report) => serde_wasm_bindgen::from_value(report).unwrap_or_default(),
            Err(_) => FlushReport::default(),
        }
    }

    pub(crate) fn flush_in_background(&self, begin: impl FnOnce(&mut Exporter, Timestamp) -> FlushId) {
        drop(self.start_flush(begin));
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
    fn poll(&self, client: u32, flush: FlushId) -> JsValue {
        self.drop_timer(flush.as_f64());
        let mut now = host::now();
        let settled = loop {
            let action = self.exporter.borrow_mut().poll(flush, now);
            self.keep_account();
            match action {
                Action::Send(request) => break self.send(client, &request, now),
                Action::WaitUntil(time) => match host::after(time.since(now)) {
                    Some((promise, timer)) => {
                        self.keep_timer(flush.as_f64(), time, timer);
                        break promise;
                    }
                    // Where nothing can be waited for, time passes at once.
                    None => now = time,
                },
                Action::Done(report) => {
                    if self.is_orphan.get() && !self.exporter.borrow().is_flushing() {
                        remove_client(client);
                    }
                    return host::report_object(&report);
                }
            }
        };
        let poll = bound(|callbacks| &callbacks.poll, client, flush.as_f64(), &JsValue::UNDEFINED);
        settled.then(&poll, &poll).into()
    }

    /// Sends a request. The promise is settled when its outcome has been handed to the exporter.
    fn send(&self, client: u32, request: &Request, now: Timestamp) -> Promise {
        let lease = request.lease.as_f64();
        let Ok(Sent { response, abort }) = self.target.post(&request.body) else {
            return Promise::resolve(&self.take_failure(request.lease, None));
        };
        let failed = bound(|callbacks| &callbacks.take_failure, client, lease, &JsValue::UNDEFINED);
        let answered = response
            .then(&bound(|callbacks| &callbacks.read_answer, client, lease, &JsValue::UNDEFINED), &failed);
        // An own timer beside the signal: a `fetch` that somebody wrapped may ignore the signal.
        let Some((elapsed, timer)) = host::after(request.timeout) else { return answered };
        self.keep_timer(lease, now + request.timeout, timer);
        let too_late = bound(|callbacks| &callbacks.take_failure, client, lease, &abort.into());
        host::first_of(&answered, &elapsed.then(&too_late, &too_late))
    }

    fn take_answer(&self, lease: LeaseId, response: &Response, text: &JsValue) -> JsValue {
        let (status, retry_after) = host::response_head(response);
        let message = host::beginning(text);
        self.take_outcome(lease, &Outcome::Response { status, retry_after, message })
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

    fn keep_account(&self) {
        if let Some(account) = self.account.get() {
            let Stats { queued, leased, .. } = self.exporter.borrow().stats();
            account.set_held((queued + leased) as f64);
        }
    }

    fn keep_timer(&self, id: f64, time: Timestamp, timer: Timer) {
        let replaced = self.timers.borrow_mut().insert(id as u64, (time, timer));
        drop(replaced);
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
    let take = bound(|callbacks| &callbacks.take_answer, client, lease, response);
    match host::response_text(response.unchecked_ref()) {
        Some(text) => text.then(&take, &take),
        None => Promise::resolve(&JsValue::UNDEFINED).then(&take, &take),
    }
    .into()
}
