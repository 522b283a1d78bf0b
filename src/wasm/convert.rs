//! JavaScript values to the core's, and errors to JavaScript's. Reading a user's object can run a getter that throws:
//! such a property counts as absent.

use std::time::Duration;

use js_sys::{Array, Object};
use wasm_bindgen::prelude::*;

use super::DEFAULT_FLUSH_BUDGET;
use super::host::{self, named};
use crate::config::{Options, Setting};
use crate::error::Error;
use crate::exporter::{FlushSettings, Scope};
use crate::id::{ObservationId, SpanContext, TraceId};
use crate::observation::{Attributes, Field, Metadata, ObservationKind, Text, TraceAttributes};
use crate::report::Stats;
use crate::time::Timestamp;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch, js_namespace = JSON, js_name = stringify)]
    fn stringify(value: &JsValue) -> Result<Option<String>, JsValue>;
    #[wasm_bindgen(catch, js_name = String)]
    fn to_string(value: &JsValue) -> Result<String, JsValue>;
    #[wasm_bindgen(catch, js_name = Number)]
    fn to_number(value: &JsValue) -> Result<f64, JsValue>;
    #[wasm_bindgen(catch, js_namespace = Object, js_name = keys)]
    fn keys(object: &JsValue) -> Result<Array, JsValue>;
    #[wasm_bindgen(catch, js_namespace = Array, js_name = isArray)]
    fn is_array(value: &JsValue) -> Result<bool, JsValue>;
}

/// How a property becomes text.
#[derive(Clone, Copy)]
enum Form {
    /// A string as it is, anything else as JSON.
    Any,
    /// Only a string counts.
    String,
    /// Only an object counts.
    Object,
    /// An object of numbers, of which the valid ones count.
    Costs,
    /// A `Date`, or milliseconds since 1970.
    Time,
}

/// The properties of `ObservationAttributes` and `TraceAttributes` that are one field each.
const PROPERTIES: [(&str, Field, Form); 16] = [
    ("input", Field::Input, Form::Any),
    ("output", Field::Output, Form::Any),
    ("level", Field::Level, Form::String),
    ("statusMessage", Field::StatusMessage, Form::String),
    ("version", Field::Version, Form::String),
    ("environment", Field::Environment, Form::String),
    ("model", Field::Model, Form::String),
    ("modelParameters", Field::ModelParameters, Form::Object),
    ("usageDetails", Field::UsageDetails, Form::Object),
    ("costDetails", Field::CostDetails, Form::Costs),
    ("completionStartTime", Field::CompletionStart, Form::Time),
    ("traceName", Field::TraceName, Form::String),
    ("userId", Field::UserId, Form::String),
    ("sessionId", Field::SessionId, Form::String),
    ("release", Field::Release, Form::String),
    ("public", Field::Public, Form::Any),
];

/// What stands in the place of a value that cannot be made into JSON text.
const NOT_SERIALIZABLE: &str = "[not serializable]";

pub(super) fn attributes(js: &JsValue) -> Attributes {
    let mut attributes = Attributes::default();
    if !js.is_object() {
        return attributes;
    }
    for (name, field, form) in PROPERTIES {
        if let Some(text) = named(js, name).and_then(|value| formed(&value, form)) {
            attributes.fields.set(field, text);
        }
    }
    if let Some(value) = named(js, "metadata") {
        set_metadata(&mut attributes.metadata, &value);
    }
    if let Some((name, version)) = named(js, "prompt").and_then(|value| prompt(&value)) {
        attributes.fields.set(Field::PromptName, name);
        attributes.fields.set(Field::PromptVersion, version);
    }
    attributes
}

pub(super) fn trace_attributes(js: &JsValue) -> TraceAttributes {
    let Attributes { fields, metadata } = attributes(js);
    let tags = if js.is_object() { named(js, "tags") } else { None };
    TraceAttributes { fields, metadata, tags: tags.map(|tags| texts(&tags)).unwrap_or_default() }
}

/// A list of strings, or one by itself.
fn texts(list: &JsValue) -> Vec<String> {
    let list = if list.is_string() { Array::of1(list) } else { Array::from(list) };
    let mut texts = Vec::new();
    for index in 0..list.length() {
        texts.extend(list.get(index).as_string());
    }
    texts
}

fn formed(value: &JsValue, form: Form) -> Option<Text> {
    match form {
        Form::Any => Some(text(value)),
        Form::String => value.as_string().map(Text::from),
        Form::Object => is_plain(value).then(|| text(value)),
        Form::Costs => is_plain(value).then(|| text(&valid_costs(value))),
        Form::Time => time(value).map(|time| Text::from(host::iso8601(time))),
    }
}

fn is_plain(value: &JsValue) -> bool {
    value.is_object() && is_array(value).is_ok_and(|is_array| !is_array)
}

/// A string as it is, anything else as JSON.
fn text(value: &JsValue) -> Text {
    let text = value.as_string().or_else(|| stringify(value).ok()?);
    text.map_or_else(|| Text::from(NOT_SERIALIZABLE), Text::from)
}

/// Langfuse does not check costs: one that is negative or not a number could fail the whole row.
fn valid_costs(costs: &JsValue) -> JsValue {
    let valid = Object::new();
    for (name, value) in entries(costs) {
        if let Some(cost) = value.as_f64().filter(|cost| cost.is_finite() && *cost >= 0.0) {
            host::set_number(&valid, &name, cost);
        }
    }
    valid.into()
}

/// One value a name, as the official SDK sends them. What is no object is kept under the name `value`.
fn set_metadata(metadata: &mut Metadata, value: &JsValue) {
    if !is_plain(value) {
        return metadata.set("value", text(value));
    }
    for (name, value) in entries(value) {
        metadata.set(&name, text(&value));
    }
}

/// The properties that can be read and are neither absent nor null.
fn entries(object: &JsValue) -> impl Iterator<Item = (String, JsValue)> {
    let names = keys(object).unwrap_or_default();
    names.into_iter().filter_map(|name| {
        let name = name.as_string()?;
        let value = named(object, &name)?;
        Some((name, value))
    })
}

/// Name and version of a prompt. A fallback is no version that Langfuse manages, and is not linked.
fn prompt(value: &JsValue) -> Option<(String, String)> {
    if named(value, "isFallback").is_some_and(|is_fallback| is_fallback.is_truthy()) {
        return None;
    }
    Some((named(value, "name")?.as_string()?, to_string(&named(value, "version")?).ok()?))
}

/// A `Date`, or milliseconds since 1970.
pub(super) fn time(value: &JsValue) -> Option<Timestamp> {
    const LATEST: f64 = 8.64e15;
    let millis = if value.is_object() { to_number(value).ok()? } else { value.as_f64()? };
    (0.0..=LATEST).contains(&millis).then(|| Timestamp::from_millis(millis as u64))
}

/// A name is a string; anything else is shown as one.
pub(super) fn name(value: &JsValue) -> String {
    value.as_string().or_else(|| to_string(value).ok()).unwrap_or_default()
}

/// Options of `startObservation`.
#[derive(Default)]
pub(super) struct StartOptions {
    pub(super) kind: ObservationKind,
    pub(super) start: Option<Timestamp>,
    pub(super) parent: Option<SpanContext>,
    pub(super) context: Option<SpanContext>,
    pub(super) trace: Option<TraceAttributes>,
}

pub(super) fn start_options(js: &JsValue) -> StartOptions {
    if !js.is_object() {
        return StartOptions::default();
    }
    let context = |name| named(js, name).and_then(|context| span_context(&context).map_err(warn::<()>).ok());
    StartOptions {
        kind: named(js, "asType").and_then(|name| kind(&name)).unwrap_or_default(),
        start: named(js, "startTime").and_then(|start| time(&start)),
        parent: context("parentSpanContext"),
        context: context("spanContext"),
        trace: named(js, "trace").map(|trace| trace_attributes(&trace)),
    }
}

/// A kind by its name.
pub(super) fn kind(name: &JsValue) -> Option<ObservationKind> {
    ObservationKind::parse(&name.as_string()?).map(Some).unwrap_or_else(warn)
}

/// Tracing does not break its host: what cannot be used is said on the console and left out.
fn warn<T: Default>(error: Error) -> T {
    host::warn(&["langfuse-edge: ", error.message()].concat());
    T::default()
}

fn span_context(parent: &JsValue) -> Result<SpanContext, Error> {
    let id = |name| named(parent, name).and_then(|id| id.as_string()).unwrap_or_default();
    Ok(SpanContext {
        trace_id: TraceId::parse(&id("traceId"))?,
        observation_id: ObservationId::parse(&id("spanId"))?,
    })
}

/// Options of a client: every kind of value in the form it has in an environment.
pub(super) fn langfuse_options(js: &JsValue) -> Options {
    let mut options = Options::default();
    if js.is_object() {
        for &(setting, name, _) in &Setting::ALL {
            if let Some(value) = named(js, name).and_then(|value| to_string(&value).ok()) {
                options.set(setting, value);
            }
        }
    }
    options
}

/// A score's body as JSON text, with what the client needs to know of it.
pub(super) struct Score {
    pub(super) id: Option<String>,
    pub(super) trace_id: Option<TraceId>,
    pub(super) json: String,
    pub(super) has_environment: bool,
}

pub(super) fn score(body: &JsValue) -> Option<Score> {
    let text = |name| named(body, name).and_then(|value| value.as_string());
    let Ok(Some(json)) = stringify(body) else {
        host::warn("langfuse-edge: a score is left out: it has no JSON text");
        return None;
    };
    Some(Score {
        id: text("id"),
        trace_id: text("traceId").and_then(|id| TraceId::parse(&id).ok()),
        json,
        has_environment: text("environment").is_some(),
    })
}

/// A Cloudflare Queue takes messages of at most 128,000 bytes, some of them its own.
const OVERFLOW_BYTES: usize = 127_000;

/// The function that takes what a flush cannot deliver, or undefined.
pub(super) fn overflow(js: &JsValue) -> JsValue {
    if js.is_object() { named(js, "overflow").unwrap_or_default() } else { JsValue::UNDEFINED }
}

/// What a flush is to do.
pub(super) fn flush_settings(js: &JsValue, overflow: &JsValue) -> FlushSettings {
    let mut settings = FlushSettings::from(flush_budget(js));
    settings.overflow_bytes = overflow.is_function().then_some(OVERFLOW_BYTES);
    let scope = if js.is_object() { named(js, "scope") } else { None };
    if let Some(scope) = scope {
        let mut traces = Vec::new();
        for id in texts(&scope) {
            traces.extend(TraceId::parse(&id).ok());
        }
        settings.scope = Scope::Traces(traces);
    }
    settings
}

/// Totals as a JavaScript object; `types.ts` has its type.
pub(super) fn stats(stats: &Stats) -> JsValue {
    let object = Object::new();
    host::set_number(&object, "recorded", stats.recorded as f64);
    host::set_number(&object, "delivered", stats.delivered as f64);
    host::set_number(&object, "rejected", stats.rejected as f64);
    host::set_number(&object, "dropped", stats.dropped as f64);
    host::set_number(&object, "handedOver", stats.handed_over as f64);
    host::set_number(&object, "queued", stats.queued as f64);
    host::set_number(&object, "leased", stats.leased as f64);
    host::set_number(&object, "bytes", stats.bytes as f64);
    object.into()
}

/// How long a flush may take.
pub(super) fn flush_budget(js: &JsValue) -> Duration {
    let millis = if js.is_object() { named(js, "timeoutMs") } else { None };
    let millis = millis.and_then(|millis| millis.as_f64()).filter(|millis| *millis >= 0.0);
    millis.map_or(DEFAULT_FLUSH_BUDGET, |millis| Duration::from_millis(millis as u64))
}

pub(super) fn error(error: &Error) -> JsError {
    JsError::new(&["langfuse-edge: ", error.message()].concat())
}
