//! JavaScript values to the core's, and errors to JavaScript's. Reading a user's object can run a getter that throws:
//! such a property counts as absent.

use std::time::Duration;

use js_sys::{Array, Date, Object, Uint8Array};
use wasm_bindgen::prelude::*;

use super::host;
use crate::config::Options;
use crate::error::Error;
use crate::id::{ObservationId, SpanContext, TraceId};
use crate::observation::{Attributes, Level, Metadata, ObservationKind, Prompt, Text};
use crate::report::FlushReport;
use crate::time::Timestamp;

#[wasm_bindgen]
extern "C" {
    /// The attributes of an observation, as in `types.ts`.
    #[wasm_bindgen(typescript_type = "ObservationAttributes")]
    pub type JsAttributes;
    #[wasm_bindgen(method, getter, catch)]
    fn input(this: &JsAttributes) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, getter, catch)]
    fn output(this: &JsAttributes) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, getter, catch)]
    fn metadata(this: &JsAttributes) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, getter, catch)]
    fn level(this: &JsAttributes) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, getter, catch, js_name = statusMessage)]
    fn status_message(this: &JsAttributes) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, getter, catch)]
    fn version(this: &JsAttributes) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, getter, catch)]
    fn environment(this: &JsAttributes) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, getter, catch)]
    fn model(this: &JsAttributes) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, getter, catch, js_name = modelParameters)]
    fn model_parameters(this: &JsAttributes) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, getter, catch, js_name = usageDetails)]
    fn usage_details(this: &JsAttributes) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, getter, catch, js_name = costDetails)]
    fn cost_details(this: &JsAttributes) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, getter, catch, js_name = completionStartTime)]
    fn completion_start_time(this: &JsAttributes) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, getter, catch)]
    fn prompt(this: &JsAttributes) -> Result<JsValue, JsValue>;

    /// Options of a client, as in `types.ts`.
    #[wasm_bindgen(typescript_type = "LangfuseOptions")]
    pub type JsLangfuseOptions;
    /// Options of an observation, as in `types.ts`.
    #[wasm_bindgen(typescript_type = "StartObservationOptions")]
    pub type JsStartOptions;
    /// Options of a flush, as in `types.ts`.
    #[wasm_bindgen(typescript_type = "FlushOptions")]
    pub type JsFlushOptions;

    #[wasm_bindgen(catch, js_namespace = JSON, js_name = stringify)]
    fn stringify(value: &JsValue) -> Result<JsValue, JsValue>;
    type TextEncoder;
    #[wasm_bindgen(constructor)]
    fn new() -> TextEncoder;
    #[wasm_bindgen(method)]
    fn encode(this: &TextEncoder, text: &JsValue) -> Uint8Array;
}

thread_local! {
    static ENCODER: TextEncoder = TextEncoder::new();
}

/// What stands in the place of a value that cannot be made into JSON text.
const NOT_SERIALIZABLE: &str = "[not serializable]";

pub(super) fn attributes(js: &JsAttributes) -> Attributes {
    let mut attributes = Attributes::default();
    if !js.is_object() {
        return attributes;
    }
    attributes.input = present(js.input()).map(|value| text(&value));
    attributes.output = present(js.output()).map(|value| text(&value));
    if let Some(value) = present(js.metadata()) {
        set_metadata(&mut attributes.metadata, &value);
    }
    attributes.level = string(js.level()).and_then(|level| Level::parse(&level).ok());
    attributes.status_message = string(js.status_message());
    attributes.version = string(js.version());
    attributes.environment = string(js.environment());
    attributes.model = string(js.model());
    attributes.model_parameters = present(js.model_parameters()).and_then(|value| object_text(&value));
    attributes.usage_details = present(js.usage_details()).and_then(|value| object_text(&value));
    attributes.cost_details = present(js.cost_details()).and_then(|value| object_text(&valid_costs(&value)));
    attributes.completion_start = present(js.completion_start_time()).and_then(|value| time(&value));
    attributes.prompt = present(js.prompt()).and_then(|value| prompt(&value));
    attributes
}

fn present(value: Result<JsValue, JsValue>) -> Option<JsValue> {
    value.ok().filter(|value| !value.is_undefined() && !value.is_null())
}

fn string(value: Result<JsValue, JsValue>) -> Option<String> {
    value.ok()?.as_string()
}

/// A string as it is, anything else as JSON.
fn text(value: &JsValue) -> Text {
    if value.is_string() {
        return encoded(value);
    }
    match stringify(value) {
        Ok(json) if json.is_string() => encoded(&json),
        _ => Text::from(NOT_SERIALIZABLE),
    }
}

/// `TextEncoder` copies in bulk, where a string argument is copied character by character.
fn encoded(string: &JsValue) -> Text {
    let bytes = ENCODER.with(|encoder| encoder.encode(string)).to_vec();
    Text::from_utf8(bytes).unwrap_or_else(|| Text::from(NOT_SERIALIZABLE))
}

fn object_text(value: &JsValue) -> Option<Text> {
    (value.is_object() && !Array::is_array(value)).then(|| text(value))
}

/// Langfuse does not check costs: one that is negative or not a number could fail the whole row.
fn valid_costs(costs: &JsValue) -> JsValue {
    let valid = Object::new();
    for (name, value) in entries(costs) {
        if value.as_f64().is_some_and(|cost| cost.is_finite() && cost >= 0.0) {
            // Setting a property of a fresh plain object cannot fail.
            drop(js_sys::Reflect::set(&valid, &name, &value));
        }
    }
    valid.into()
}

/// One value a name, as the official SDK sends them. What is no object is kept under the name `value`.
fn set_metadata(metadata: &mut Metadata, value: &JsValue) {
    if !value.is_object() || Array::is_array(value) {
        return metadata.set("value", text(value));
    }
    for (name, value) in entries(value) {
        if let (Some(name), Some(value)) = (name.as_string(), present(Ok(value))) {
            metadata.set(&name, text(&value));
        }
    }
}

fn entries(object: &JsValue) -> Vec<(JsValue, JsValue)> {
    let Some(object) = object.dyn_ref::<Object>() else { return Vec::new() };
    let entries = Object::entries(object);
    entries.iter().map(|entry| Array::from(&entry)).map(|entry| (entry.get(0), entry.get(1))).collect()
}

fn prompt(value: &JsValue) -> Option<Prompt> {
    // A fallback is not a version that Langfuse manages.
    if host::property(value, "isFallback").is_some_and(|is_fallback| is_fallback.is_truthy()) {
        return None;
    }
    let version = host::property(value, "version")?;
    let version = match version.as_string() {
        Some(digits) => digits.parse().ok()?,
        None => {
            version.as_f64().filter(|version| version.fract() == 0.0 && (0.0..=65535.0).contains(version))?
                as u16
        }
    };
    Some(Prompt { name: host::property(value, "name")?.as_string()?, version })
}

/// A `Date`, or milliseconds since 1970.
pub(super) fn time(value: &JsValue) -> Option<Timestamp> {
    let millis = match value.dyn_ref::<Date>() {
        Some(date) => date.get_time(),
        None => value.as_f64()?,
    };
    (millis.is_finite() && millis >= 0.0).then(|| Timestamp::from_millis(millis as u64))
}

/// Options of `startObservation`.
#[derive(Default)]
pub(super) struct StartOptions {
    pub(super) kind: ObservationKind,
    pub(super) start: Option<Timestamp>,
    pub(super) parent: Option<SpanContext>,
}

pub(super) fn start_options(js: &JsStartOptions) -> StartOptions {
    if !js.is_object() {
        return StartOptions::default();
    }
    let kind = host::property(js, "asType").and_then(|kind| kind.as_string());
    let parent = host::property(js, "parentSpanContext");
    StartOptions {
        kind: kind
            .map_or(Ok(ObservationKind::Span), |kind| ObservationKind::parse(&kind))
            .unwrap_or_else(warn),
        start: host::property(js, "startTime").and_then(|start| time(&start)),
        parent: parent.and_then(|parent| span_context(&parent).map_err(warn::<()>).ok()),
    }
}

/// Tracing does not break its host: what cannot be used is said once on the console and left out.
fn warn<T: Default>(error: Error) -> T {
    host::warn(&format!("langfuse-edge: {error}"));
    T::default()
}

fn span_context(parent: &JsValue) -> Result<SpanContext, Error> {
    let id = |name| host::property(parent, name).and_then(|id| id.as_string()).unwrap_or_default();
    Ok(SpanContext {
        trace_id: TraceId::parse(&id("traceId"))?,
        observation_id: ObservationId::parse(&id("spanId"))?,
    })
}

/// Options of a client.
pub(super) fn langfuse_options(js: &JsLangfuseOptions) -> Result<Options, Error> {
    let mut options = Options::default();
    if js.is_object() {
        options.public_key = option(js, "publicKey", "a string", JsValue::as_string)?;
        options.secret_key = option(js, "secretKey", "a string", JsValue::as_string)?;
        options.base_url = option(js, "baseUrl", "a string", JsValue::as_string)?;
        options.enabled = option(js, "enabled", "true or false", JsValue::as_bool)?;
        options.environment = option(js, "environment", "a string", JsValue::as_string)?;
        options.release = option(js, "release", "a string", JsValue::as_string)?;
        options.timeout = option(js, "timeout", "a number of seconds", seconds)?;
    }
    Ok(options)
}

fn option<T>(
    js: &JsValue,
    name: &str,
    what: &str,
    read: impl Fn(&JsValue) -> Option<T>,
) -> Result<Option<T>, Error> {
    let Some(value) = host::property(js, name) else { return Ok(None) };
    match read(&value) {
        Some(value) => Ok(Some(value)),
        None => Err(Error::configuration(format!("{name} must be {what}"))),
    }
}

fn seconds(value: &JsValue) -> Option<Duration> {
    Duration::try_from_secs_f64(value.as_f64()?).ok()
}

/// How long a flush may take.
pub(super) fn flush_budget(js: &JsFlushOptions) -> Option<Duration> {
    let millis = host::property(js, "timeoutMs")?.as_f64()?;
    (millis >= 0.0).then(|| Duration::from_millis(millis as u64))
}

pub(super) fn report(report: &FlushReport) -> JsValue {
    serde_wasm_bindgen::to_value(report).unwrap_or_default()
}

pub(super) fn error(error: &Error) -> JsError {
    JsError::new(&format!("langfuse-edge: {error}"))
}
