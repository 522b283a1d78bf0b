//! What the driver needs of the platform, and nothing it does not have everywhere: `window` and `self` are absent
//! from this file because Workers have neither.

use std::cell::RefCell;
use std::future::Future;
use std::time::Duration;

use js_sys::{Array, Function, Object, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::{AbortController, Response};

use crate::config::Config;
use crate::report::{FlushReport, Rejection};
use crate::retry::{Verdict, parse_retry_after};
use crate::time::Timestamp;
use crate::wire::RecordKind;

#[wasm_bindgen]
extern "C" {
    /// A promise, with the one way of chaining the driver uses.
    #[wasm_bindgen(js_name = Promise, typescript_type = "Promise<any>")]
    #[derive(Clone)]
    pub(crate) type Promise;
    #[wasm_bindgen(constructor, js_class = "Promise")]
    pub(crate) fn new(executor: &Function) -> Promise;
    #[wasm_bindgen(method)]
    pub(crate) fn then(this: &Promise, fulfilled: &Function, rejected: &Function) -> Promise;
    #[wasm_bindgen(static_method_of = Promise)]
    fn race(promises: &Array) -> Promise;
    #[wasm_bindgen(static_method_of = Promise)]
    pub(crate) fn resolve(value: &JsValue) -> Promise;

    /// What the JavaScript around a client keeps of it, for when this module's state is lost.
    #[wasm_bindgen(extends = Object)]
    pub type Account;
    /// How many records would be lost.
    #[wasm_bindgen(method, setter)]
    pub(crate) fn set_held(this: &Account, records: f64);
    /// Headers of every request, to which those that it must have are added.
    #[wasm_bindgen(method, getter)]
    pub(crate) fn headers(this: &Account) -> Object;

    /// A function that takes a step, a client, a flush or lease, an extra value, and what a promise was settled with.
    #[wasm_bindgen(js_name = Function)]
    pub(crate) type Callback;
    #[wasm_bindgen(method)]
    pub(crate) fn bind(
        this: &Callback,
        context: &JsValue,
        step: u32,
        client: u32,
        id: f64,
        extra: &JsValue,
    ) -> Function;

    #[wasm_bindgen(catch, js_name = setTimeout)]
    fn set_timeout(callback: &JsValue, millis: f64) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(timer: &JsValue);
    // The same again, for Rust programs: a second use of those would keep them from being inlined in the npm package.
    #[wasm_bindgen(catch, js_name = setTimeout)]
    fn set_alarm(callback: &Function, millis: f64) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_alarm(timer: &JsValue);
    /// What takes a batch that cannot be delivered: a function of an endpoint's path and a body.
    #[wasm_bindgen(js_name = Function)]
    type Overflow;
    #[wasm_bindgen(method, catch, js_name = call)]
    fn give(this: &Overflow, context: &JsValue, path: &str, body: Uint8Array) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch, js_name = fetch)]
    fn global_fetch(url: &str, init: &JsValue) -> Result<Promise, JsValue>;
    #[wasm_bindgen(catch, js_namespace = crypto, js_name = getRandomValues)]
    fn get_random_values(bytes: &mut [u8]) -> Result<JsValue, JsValue>;
    /// The global object itself.
    #[wasm_bindgen(js_namespace = globalThis, js_name = valueOf)]
    fn global() -> JsValue;
    /// Headers of a response. `get` throws for names only that are none.
    #[wasm_bindgen(js_name = Headers)]
    type Headers;
    #[wasm_bindgen(method)]
    fn get(this: &Headers, name: &str) -> Option<String>;
    #[wasm_bindgen(js_name = btoa)]
    fn base64(text: &str) -> String;
    #[wasm_bindgen(catch, js_namespace = JSON, js_name = parse)]
    fn parse_json(text: &JsValue) -> Result<JsValue, JsValue>;
    type Date;
    #[wasm_bindgen(constructor)]
    fn new(millis: f64) -> Date;
    #[wasm_bindgen(method, js_name = toISOString)]
    fn to_iso_string(this: &Date) -> String;

    /// What is neither absent nor null.
    #[wasm_bindgen(js_name = Object)]
    pub(crate) type Value;
    #[wasm_bindgen(catch, js_namespace = Reflect, js_name = get)]
    fn get_named(object: &JsValue, name: &str) -> Result<Option<Value>, JsValue>;

    // Of objects made here: setting a property of a plain object cannot fail.
    #[wasm_bindgen(js_namespace = Reflect, js_name = set)]
    pub(crate) fn set(object: &Object, name: &str, value: &JsValue);
    #[wasm_bindgen(js_namespace = Reflect, js_name = set)]
    pub(crate) fn set_number(object: &Object, name: &str, value: f64);
    #[wasm_bindgen(js_namespace = Reflect, js_name = set)]
    pub(crate) fn set_text(object: &Object, name: &str, value: &str);
}

/// Wall-clock time. On Workers it stands still between two I/O events.
#[expect(clippy::disallowed_methods, reason = "the one place of the wasm side that reads a clock")]
pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(js_sys::Date::now() as u64)
}

/// Random bytes for ids, from a block that one call into the host fills for many.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill(&mut bytes);
    bytes
}

fn fill(bytes: &mut [u8]) {
    const BLOCK: usize = 4096;
    thread_local! {
        static POOL: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    if POOL.with_borrow(|pool| pool.len() < bytes.len()) {
        let mut block = vec![0; BLOCK];
        if get_random_values(&mut block).is_err() {
            fill_weakly(&mut block);
        }
        drop(POOL.replace(block));
    }
    POOL.with_borrow_mut(|pool| {
        for byte in bytes {
            *byte = pool.pop().unwrap_or_default();
        }
    });
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

impl Timer {
    /// Calls a promise's own function after a while, none of this module: when the module's state is replaced on the way,
    /// there is nothing for the timer to fail in. Nothing when the host sets no timers, as Workers outside of a request.
    pub(crate) fn start(resolve: &JsValue, millis: f64) -> Option<Self> {
        set_timeout(resolve, millis).ok().map(Self)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        clear_timeout(&self.0);
    }
}

/// Waits; not at all where the host sets no timers. The timer is cleared when the future is dropped.
pub(crate) fn sleep(duration: Duration) -> impl Future<Output = ()> {
    struct Alarm(JsValue);
    impl Drop for Alarm {
        fn drop(&mut self) {
            clear_alarm(&self.0);
        }
    }
    let mut alarm = None;
    let elapsed = js_sys::Promise::new(&mut |resolve, _| {
        if let Ok(timer) = set_alarm(&resolve, duration.as_millis() as f64) {
            alarm = Some(Alarm(timer));
        }
    });
    async move {
        if let Some(_alarm) = alarm {
            drop(wasm_bindgen_futures::JsFuture::from(elapsed).await);
        }
    }
}

/// The first of two promises to be settled.
pub(crate) fn first_of(one: &Promise, other: &Promise) -> Promise {
    Promise::race(&Array::of2(one, other))
}

/// The value of an environment variable, where the host has `process.env`.
pub(crate) fn env(name: &'static str) -> Option<String> {
    named(&named(&named(&global(), "process")?, "env")?, name)?.as_string()
}

/// A property that is neither absent nor null. One whose getter throws counts as absent.
pub(crate) fn named(object: &JsValue, name: &str) -> Option<JsValue> {
    Some(get_named(object, name).ok()??.into())
}

/// A flush report as a JavaScript object; `types.ts` has its type. By hand, because a serializer for this one object
/// would be a tenth of the module.
pub(crate) fn report_object(report: &FlushReport) -> JsValue {
    let object = Object::new();
    set(&object, "ok", &report.ok.into());
    set_number(&object, "delivered", report.delivered as f64);
    let rejected = Array::new();
    for Rejection { id, status, message } in &report.rejected {
        let rejection = Object::new();
        set_text(&rejection, "id", id);
        set_number(&rejection, "status", (*status).into());
        set_text(&rejection, "message", message);
        rejected.push(&rejection);
    }
    set(&object, "rejected", &rejected);
    set_number(&object, "retained", report.retained as f64);
    set_number(&object, "dropped", report.dropped as f64);
    let reasons = Object::new();
    for (reason, count) in report.drop_reasons.iter() {
        set_number(&reasons, reason, count as f64);
    }
    set(&object, "dropReasons", &reasons);
    set_number(&object, "handedOver", report.handed_over as f64);
    if let Some(status) = report.last_status {
        set_number(&object, "lastStatus", status.into());
    }
    set_number(&object, "requests", report.requests as f64);
    set_number(&object, "attempts", report.attempts as f64);
    set_number(&object, "ambiguous", report.ambiguous as f64);
    set_number(&object, "bytes", report.bytes as f64);
    set_number(&object, "durationMs", report.duration_ms as f64);
    object.into()
}

/// A panic is the end of the instance here, so nothing runs because of one.
pub(crate) fn is_panicking() -> bool {
    false
}

/// `LANGFUSE_LOG_LEVEL=ERROR` is for those who want no warnings.
pub(crate) fn warn(message: &str) {
    if env("LANGFUSE_LOG_LEVEL").as_deref() != Some("ERROR") {
        web_sys::console::warn_1(&JsValue::from_str(message));
    }
}

/// Where requests go, as plain text: nothing of one request is kept for another.
#[derive(Debug)]
pub(crate) struct Target {
    base_url: String,
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
            base_url: config.base_url().to_owned(),
            public_key: config.public_key().to_owned(),
            secret_key: config.secret_key().to_owned(),
        }
    }

    /// `headers` are further ones, with names in lower case.
    pub(crate) fn post(&self, kind: RecordKind, body: &[u8], headers: &Object) -> Result<Sent, JsValue> {
        let credentials = base64(&[&self.public_key, ":", &self.secret_key].concat());
        set_text(headers, "authorization", &["Basic ", &credentials].concat());
        set_text(headers, "content-type", kind.content_type());
        set_text(headers, "x-langfuse-ingestion-version", "4");
        set_text(headers, "x-langfuse-sdk-name", "langfuse-edge");
        set_text(headers, "x-langfuse-sdk-version", env!("CARGO_PKG_VERSION"));
        set_text(headers, "x-langfuse-public-key", &self.public_key);
        let abort = AbortController::new()?;
        let init = Object::new();
        set_text(&init, "method", "POST");
        set(&init, "headers", headers);
        // A copy outside wasm memory: a view would change under the request when the memory grows.
        set(&init, "body", &Uint8Array::from(body));
        // A redirected POST would arrive as a GET without its body, and be answered 200.
        set_text(&init, "redirect", "manual");
        set(&init, "signal", &abort.signal());
        Ok(Sent { response: global_fetch(&[&self.base_url, kind.path()].concat(), &init)?, abort })
    }
}

/// Gives a body to a durable overflow. The promise is of `true` when that has accepted it.
pub(crate) fn give(overflow: &JsValue, kind: RecordKind, body: &[u8]) -> Result<Promise, JsValue> {
    overflow.unchecked_ref::<Overflow>().give(&JsValue::UNDEFINED, kind.path(), Uint8Array::from(body))
}

/// Status and `Retry-After` of a response.
pub(crate) fn response_head(response: &Response) -> (u16, Option<Duration>) {
    let headers: Headers = response.headers().unchecked_into();
    let retry_after = headers.get("retry-after");
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

/// The verdicts in the body of a 207 of the ingestion endpoint: `{"successes": […], "errors": […]}`, each entry with `id`
/// and `status`, an error also with `error` or at least `message`. What is not of this form says nothing.
pub(crate) fn verdicts(body: &JsValue) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let body = parse_json(body).unwrap_or_default();
    for name in ["successes", "errors"] {
        if let Some(list) = named(&body, name) {
            let list: Array = list.unchecked_into();
            for index in 0..list.length() {
                verdicts.extend(verdict(&list.get(index)));
            }
        }
    }
    verdicts
}

fn verdict(entry: &JsValue) -> Option<Verdict> {
    let text = |name| named(entry, name).and_then(|value| value.as_string());
    let status = named(entry, "status")?.as_f64()? as u16;
    let message = text("error").or_else(|| text("message")).unwrap_or_default();
    Some(Verdict { id: text("id")?, status, message })
}

/// The form Langfuse reads for times in JSON. By the host: code of our own for it would be a hundredth of the module.
pub(crate) fn iso8601(time: Timestamp) -> String {
    Date::new(time.as_millis() as f64).to_iso_string()
}

/// The response's text. Reading it is also what frees the connection.
pub(crate) fn response_text(response: &Response) -> Option<Promise> {
    response.text().ok().map(JsCast::unchecked_into)
}
