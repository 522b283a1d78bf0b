//! What the driver needs of the platform, and nothing it does not have everywhere: `window` and `self` are absent
//! from this file because Workers have neither.

use std::cell::RefCell;
use std::time::Duration;

use js_sys::{Array, Function, Object, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::{AbortController, Response};

use crate::config::Config;
use crate::report::{FlushReport, Rejection};
use crate::retry::parse_retry_after;
use crate::time::Timestamp;

#[wasm_bindgen]
extern "C" {
    /// A promise, with the one way of chaining the driver uses.
    #[wasm_bindgen(js_name = Promise, typescript_type = "Promise<any>")]
    #[derive(Clone)]
    pub(crate) type Promise;
    #[wasm_bindgen(constructor, js_class = "Promise")]
    fn new(executor: &mut dyn FnMut(Function)) -> Promise;
    #[wasm_bindgen(method)]
    pub(crate) fn then(this: &Promise, fulfilled: &Function, rejected: &Function) -> Promise;
    #[wasm_bindgen(static_method_of = Promise)]
    fn race(promises: &Array) -> Promise;
    #[wasm_bindgen(static_method_of = Promise)]
    pub(crate) fn resolve(value: &JsValue) -> Promise;

    /// What the JavaScript around a client keeps of it, for when this module's state is lost.
    #[wasm_bindgen(extends = Plain)]
    pub type Account;
    /// How many records would be lost.
    #[wasm_bindgen(method, setter)]
    pub(crate) fn set_held(this: &Account, records: f64);

    /// An object of our own. Setting a property fails only where the stack ends, and half an object is worse than none.
    pub type Plain;
    #[wasm_bindgen(method, indexing_setter)]
    pub(crate) fn set(this: &Plain, name: &str, value: &JsValue);

    /// A function that takes a client, a flush or lease, an extra value, and what a promise was settled with.
    #[wasm_bindgen(js_name = Function)]
    pub(crate) type Callback;
    #[wasm_bindgen(method)]
    pub(crate) fn bind(this: &Callback, context: &JsValue, client: u32, id: f64, extra: &JsValue)
    -> Function;

    #[wasm_bindgen(catch, js_name = setTimeout)]
    fn set_timeout(callback: &Function, millis: u32) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(timer: &JsValue);
    #[wasm_bindgen(catch, js_name = fetch)]
    fn global_fetch(url: &str, init: &JsValue) -> Result<Promise, JsValue>;
    #[wasm_bindgen(catch, js_namespace = crypto, js_name = getRandomValues)]
    fn get_random_values(bytes: &mut [u8]) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(thread_local_v2, js_name = globalThis)]
    static GLOBAL_THIS: JsValue;
    #[wasm_bindgen(js_name = btoa)]
    fn base64(text: &str) -> String;
}

/// Wall-clock time. On Workers it stands still between two I/O events.
#[expect(clippy::disallowed_methods, reason = "the one place of the wasm side that reads a clock")]
pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(js_sys::Date::now() as u64)
}

/// Random bytes for ids, from a block that one call into the host fills for many.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    const BLOCK: usize = 512;
    thread_local! {
        static POOL: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    if POOL.with_borrow(|pool| pool.len() < N) {
        let mut block = vec![0; BLOCK];
        if get_random_values(&mut block).is_err() {
            fill_weakly(&mut block);
        }
        POOL.set(block);
    }
    POOL.with_borrow_mut(|pool| {
        let mut bytes = [0; N];
        for byte in &mut bytes {
            *byte = pool.pop().unwrap_or_default();
        }
        bytes
    })
}

/// Workers refuse their entropy outside a request; an id made there needs only to be unlikely to come twice.
#[expect(clippy::disallowed_methods, reason = "the one place of the wasm side that reads entropy")]
fn fill_weakly(bytes: &mut [u8]) {
    for byte in bytes {
        *byte = (js_sys::Math::random() * 256.0) as u8;
    }
}

/// A timer of the host's, cleared when it is dropped.
#[derive(Debug)]
pub(crate) struct Timer(JsValue);

impl Drop for Timer {
    fn drop(&mut self) {
        clear_timeout(&self.0);
    }
}

/// A promise that is fulfilled after `duration`, unless the timer is dropped before. Nothing when the host sets no
/// timers, as Workers outside of a request.
///
/// The timer calls the promise's own function, none of this module: when the module's state is replaced on the way,
/// there is nothing for the timer to fail in.
pub(crate) fn after(duration: Duration) -> Option<(Promise, Timer)> {
    // Rounded up, so that what is due then is due.
    let millis = duration.as_secs() as u32 * 1000 + duration.subsec_nanos().div_ceil(1_000_000);
    let mut timer = None;
    let promise = Promise::new(&mut |resolve: Function| timer = set_timeout(&resolve, millis).ok());
    timer.map(|timer| (promise, Timer(timer)))
}

/// The first of two promises to be settled.
pub(crate) fn first_of(one: &Promise, other: &Promise) -> Promise {
    Promise::race(&Array::of2(one, other))
}

/// The value of an environment variable, where the host has `process.env`.
pub(crate) fn env(name: &str) -> Option<String> {
    named(&named(&GLOBAL_THIS.with(|global| named(global, "process"))?, "env")?, name)?.as_string()
}

/// As [`property`], by a name that is no JavaScript string yet.
pub(crate) fn named(object: &JsValue, name: &str) -> Option<JsValue> {
    property(object, &JsValue::from_str(name))
}

/// A property that is neither absent nor null. One whose getter throws counts as absent.
pub(crate) fn property(object: &JsValue, name: &JsValue) -> Option<JsValue> {
    let value = Reflect::get(object, name).ok()?;
    (!value.is_undefined() && !value.is_null()).then_some(value)
}

/// A flush report as a JavaScript object; `types.ts` has its type. By hand, because a serializer for this one object
/// would be a tenth of the module.
pub(crate) fn report_object(report: &FlushReport) -> JsValue {
    let FlushReport { ok, delivered, rejected, retained, dropped, drop_reasons, .. } = report;
    let rejections = rejected.iter().map(|Rejection { id, status, message, .. }| {
        object(&[("id", id.into()), ("status", (*status).into()), ("message", message.into())])
    });
    let reasons = drop_reasons.iter().map(|(reason, count)| (reason, number(count))).collect::<Vec<_>>();
    object(&[
        ("ok", (*ok).into()),
        ("delivered", number(*delivered)),
        ("rejected", rejections.collect::<Array>().into()),
        ("retained", number(*retained)),
        ("dropped", number(*dropped)),
        ("dropReasons", object(&reasons)),
        ("handedOver", number(report.handed_over)),
        ("requests", number(report.requests)),
        ("attempts", number(report.attempts)),
        ("ambiguous", number(report.ambiguous)),
        ("bytes", number(report.bytes)),
        ("durationMs", number(report.duration_ms)),
    ])
}

fn number(count: u64) -> JsValue {
    JsValue::from_f64(count as f64)
}

fn object(properties: &[(&str, JsValue)]) -> JsValue {
    let object = Object::new();
    for (name, value) in properties {
        object.unchecked_ref::<Plain>().set(name, value);
    }
    object.into()
}

pub(crate) fn warn(message: &str) {
    web_sys::console::warn_1(&JsValue::from_str(message));
}

/// Where requests go, as plain text: nothing of one request is kept for another.
#[derive(Debug)]
pub(crate) struct Target {
    traces_url: String,
    public_key: String,
    secret_key: String,
}

/// A request on its way.
pub(crate) struct Sent {
    /// The `Response`, or a rejection.
    pub(crate) response: Promise,
    /// Ends the request.
    pub(crate) abort: AbortController,
}

impl Target {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            traces_url: config.traces_url(),
            public_key: config.public_key().to_owned(),
            secret_key: config.secret_key().to_owned(),
        }
    }

    pub(crate) fn post(&self, body: &[u8]) -> Result<Sent, JsValue> {
        let credentials = base64(&[&self.public_key, ":", &self.secret_key].concat());
        let headers = object(&[
            ("authorization", ["Basic ", &credentials].concat().into()),
            ("content-type", "application/x-protobuf".into()),
            ("x-langfuse-ingestion-version", "4".into()),
            ("x-langfuse-sdk-name", "langfuse-edge".into()),
            ("x-langfuse-sdk-version", env!("CARGO_PKG_VERSION").into()),
            ("x-langfuse-public-key", self.public_key.as_str().into()),
        ]);
        let abort = AbortController::new()?;
        let init = object(&[
            ("method", "POST".into()),
            ("headers", headers),
            // A copy outside wasm memory: a view would change under the request when the memory grows.
            ("body", Uint8Array::from(body).into()),
            // A redirected POST would arrive as a GET without its body, and be answered 200.
            ("redirect", "manual".into()),
            ("signal", abort.signal().into()),
        ]);
        Ok(Sent { response: global_fetch(&self.traces_url, &init)?, abort })
    }
}

/// Status and `Retry-After` of a response.
pub(crate) fn response_head(response: &Response) -> (u16, Option<Duration>) {
    let retry_after = response.headers().get("retry-after").ok().flatten();
    (response.status(), retry_after.and_then(|value| parse_retry_after(&value, until)))
}

/// How far off an HTTP date is. What is no date is `NaN`.
fn until(date: &str) -> Option<Duration> {
    let millis = js_sys::Date::parse(date);
    (millis >= 0.0).then(|| Timestamp::from_millis(millis as u64).since(now()))
}

/// The beginning of a response's text, enough for the words of a refusal. What is longer does not get into wasm memory,
/// which never shrinks.
pub(crate) fn beginning(text: &JsValue) -> String {
    const LONGEST_MESSAGE: u32 = 4096;
    let text: Option<&js_sys::JsString> = text.dyn_ref();
    text.map(|text| text.slice(0, LONGEST_MESSAGE).into()).unwrap_or_default()
}

/// The response's text. Reading it is also what frees the connection.
pub(crate) fn response_text(response: &Response) -> Option<Promise> {
    response.text().ok().map(JsCast::unchecked_into)
}
