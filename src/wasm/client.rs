//! The JavaScript classes. They convert and delegate; the client they wrap is the one of Rust programs.
//!
//! They are what a bare `wasm-pack build` offers. A trap leaves their module as it is, so that later calls may fail for
//! good; the npm package has a layer in TypeScript above them that replaces the instance then.

use std::rc::Rc;
use std::sync::Arc;

use wasm_bindgen::prelude::*;

use super::convert::{self, Score};
use super::host::{self, Account};
use super::said;
use crate::client;
use crate::config::Options;
use crate::exporter::FlushSettings;
use crate::id::TraceId;
use crate::observation::Level;
use crate::recording::{self, ObservationBuilder};
use crate::time::Timestamp;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = include_str!("types.ts");

#[wasm_bindgen]
extern "C" {
    /// A promise of a flush report.
    #[wasm_bindgen(typescript_type = "Promise<FlushReport>")]
    pub type PromiseOfFlushReport;
}

/// A Langfuse client.
///
/// Recording is synchronous and never throws. Nothing is sent until `flush()` is called.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Langfuse {
    inner: client::Langfuse,
    options: Options,
}

#[wasm_bindgen]
impl Langfuse {
    /// A client with these options; what is absent comes from `env`, or without it from `process.env`, where the host
    /// has it. Without keys it is disabled: one warning, and every call is a no-op.
    ///
    /// @throws Error that names the option, when one has a value that cannot be used.
    #[wasm_bindgen(constructor)]
    pub fn new(
        #[wasm_bindgen(unchecked_optional_param_type = "LangfuseOptions | null")] options: &JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "Record<string, unknown> | object")] env: &JsValue,
    ) -> Result<Self, JsError> {
        Self::open(convert::langfuse_options(options), env)
    }

    /// A client configured by the `LANGFUSE_*` variables of `env`: a Worker's `env` object, or anything like it.
    /// Without `env`, as `new Langfuse()`.
    ///
    /// @throws Error that names the variable, when one has a value that cannot be used.
    #[wasm_bindgen(js_name = fromEnv)]
    pub fn from_env(
        #[wasm_bindgen(unchecked_optional_param_type = "Record<string, unknown> | object")] env: &JsValue,
    ) -> Result<Self, JsError> {
        Self::open(Options::default(), env)
    }

    fn open(options: Options, env: &JsValue) -> Result<Self, JsError> {
        let options = options.or_variables(&|name| match env.is_object() {
            true => host::named(env, name)?.as_string(),
            false => host::env(name),
        });
        match client::Langfuse::new(&options) {
            Ok(inner) => Ok(Self { inner, options }),
            Err(error) => Err(convert::error(&error)),
        }
    }

    /// For the JavaScript layer, which outlives this module's state: puts the client's settings into `account.variables`,
    /// and into `account.held`, from now on, how many records would be lost with the state.
    #[wasm_bindgen(js_name = keepAccount, skip_typescript)]
    pub fn keep_account(&self, account: Account) {
        for (variable, value) in self.options.variables() {
            host::set_text(&account, variable, value);
        }
        if let Some(driver) = self.inner.flusher() {
            driver.set_account(account);
        }
    }

    /// For the JavaScript layer: counts records that were lost with the state of another instance of this module.
    #[wasm_bindgen(js_name = countLost, skip_typescript)]
    pub fn count_lost(&self, records: f64) {
        if let Some(driver) = self.inner.flusher() {
            driver.count_lost(records as u64);
        }
    }

    /// Whether anything is recorded.
    #[wasm_bindgen(getter)]
    pub fn enabled(&self) -> bool {
        self.inner.is_enabled()
    }

    /// Starts an observation: the root of a new trace, or a child of `options.parentSpanContext`.
    #[wasm_bindgen(js_name = startObservation)]
    pub fn start_observation(
        &self,
        #[wasm_bindgen(unchecked_param_type = "string")] name: &JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "ObservationAttributes | null")] attributes: &JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "StartObservationOptions | null")] options: &JsValue,
    ) -> Observation {
        // Not `observe`: which observation is the current one, the JavaScript layer knows.
        let builder = ObservationBuilder::new(self.inner.clone(), convert::name(name), None);
        start(builder, attributes, options)
    }

    /// For the JavaScript layer, which keeps what is open: whether observations of this trace are recorded.
    #[wasm_bindgen(skip_typescript)]
    pub fn keeps(&self, trace_id: &str) -> bool {
        TraceId::parse(trace_id).is_ok_and(|trace_id| self.inner.recorder(trace_id).is_some())
    }

    /// For the JavaScript layer: records an observation that has ended, of which a text of so many UTF-16 code units says
    /// everything but when it began and ended. Whether it does: a host that is out of stack may have given less of it.
    #[wasm_bindgen(skip_typescript)]
    pub fn record(&self, said: &str, units: usize, start: f64, end: f64) -> bool {
        let millis = |millis| Timestamp::from_millis(millis as u64);
        let Some(observation) = said::observation(said, units, millis(start)) else { return false };
        if let Some(recorder) = self.inner.recorder(observation.context.trace_id) {
            recorder.record(observation, millis(end));
        }
        true
    }

    /// Records a score, which `body` must describe as Langfuse's `score-create` wants it; the next flush sends it.
    #[wasm_bindgen(js_name = createScore)]
    pub fn create_score(&self, #[wasm_bindgen(unchecked_param_type = "ScoreBody")] body: &JsValue) {
        if let Some(Score { id, trace_id, json, has_environment }) = convert::score(body) {
            self.inner.record_score(id.as_deref(), trace_id, &json, has_environment);
        }
    }

    /// Totals since the client was made.
    #[wasm_bindgen(unchecked_return_type = "Stats")]
    pub fn stats(&self) -> JsValue {
        convert::stats(&self.inner.stats())
    }

    /// Sends everything recorded before the call and waits until each record is delivered, rejected, or honestly
    /// reported as retained; at most 25 s unless told otherwise. The promise is never rejected.
    pub fn flush(
        &self,
        #[wasm_bindgen(unchecked_optional_param_type = "FlushOptions | null")] options: &JsValue,
    ) -> PromiseOfFlushReport {
        let overflow = convert::overflow(options);
        self.inner.promise(convert::flush_settings(options, &overflow), &overflow).unchecked_into()
    }

    /// Flushes for the last time. From now on nothing is recorded, and what could not be delivered is dropped and
    /// reported as such. The promise is never rejected.
    pub fn shutdown(
        &self,
        #[wasm_bindgen(unchecked_optional_param_type = "FlushOptions | null")] options: &JsValue,
    ) -> PromiseOfFlushReport {
        let last = FlushSettings::last(convert::flush_budget(options));
        self.inner.promise(last, &JsValue::UNDEFINED).unchecked_into()
    }
}

/// An observation. It is recorded when it ends, complete, once. One that is open for more than an hour, or the oldest of
/// more than 10,000 open ones, is ended with level WARNING and a status message that says why.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Observation {
    inner: Rc<recording::Observation>,
    kind: &'static str,
}

#[wasm_bindgen]
impl Observation {
    /// Its id, 16 hex digits.
    #[wasm_bindgen(getter, unchecked_return_type = "string")]
    pub fn id(&self) -> JsValue {
        self.inner.id().to_hex().into()
    }

    /// Its trace's id, 32 hex digits.
    #[wasm_bindgen(getter, js_name = traceId, unchecked_return_type = "string")]
    pub fn trace_id(&self) -> JsValue {
        self.inner.trace_id().to_hex().into()
    }

    /// What it stands for, such as `generation`.
    #[wasm_bindgen(getter, js_name = type, unchecked_return_type = "ObservationType")]
    pub fn kind(&self) -> JsValue {
        self.kind.into()
    }

    /// Takes over everything that `attributes` says, and returns the observation. After the end it does nothing.
    pub fn update(
        &self,
        #[wasm_bindgen(unchecked_param_type = "ObservationAttributes")] attributes: &JsValue,
    ) -> Self {
        if self.inner.is_open() {
            self.inner.attributes(convert::attributes(attributes));
        }
        Self { inner: Rc::clone(&self.inner), kind: self.kind }
    }

    /// Replaces what it says of its trace; children that have started keep what they say. After the end it does nothing.
    #[wasm_bindgen(js_name = updateTrace)]
    pub fn update_trace(
        &self,
        #[wasm_bindgen(unchecked_param_type = "TraceAttributes")] attributes: &JsValue,
    ) {
        self.inner.trace(convert::trace_attributes(attributes));
    }

    /// Ends it, now or at `endTime`. Ending again does nothing.
    pub fn end(
        &self,
        #[wasm_bindgen(js_name = endTime, unchecked_optional_param_type = "Date | number")] end: JsValue,
    ) {
        match convert::time(&end) {
            Some(end) => self.inner.end_at(end),
            None => self.inner.end(),
        }
    }

    /// Starts a child.
    #[wasm_bindgen(js_name = startObservation)]
    pub fn start_observation(
        &self,
        #[wasm_bindgen(unchecked_param_type = "string")] name: &JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "ObservationAttributes | null")] attributes: &JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "StartObservationOptions | null")] options: &JsValue,
    ) -> Self {
        let parent = self.inner.as_parent(Arc::clone(self.inner.trace_below()));
        let client = self.inner.langfuse().clone();
        start(ObservationBuilder::new(client, convert::name(name), Some(parent)), attributes, options)
    }
}

impl Drop for Observation {
    /// Only the garbage collector drops the last handle of an open observation.
    fn drop(&mut self) {
        if Rc::strong_count(&self.inner) == 1 {
            self.inner.complain(Level::Warning, "never ended");
            self.inner.end();
        }
    }
}

fn start(mut builder: ObservationBuilder, attributes: &JsValue, options: &JsValue) -> Observation {
    let convert::StartOptions { kind, start, parent, context, trace } = convert::start_options(options);
    builder.kind = kind;
    builder.start = start;
    builder.attributes = convert::attributes(attributes);
    if let Some(parent) = parent {
        builder.set_parent(parent);
    }
    builder.trace = trace;
    builder.context = context;
    Observation { inner: Rc::new(builder.start()), kind: kind.as_str() }
}
