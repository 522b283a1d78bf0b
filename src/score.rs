//! Scores for Rust programs.

use serde::Serialize;
use serde_json::Value;

use crate::client::Langfuse;
use crate::error::Error;
use crate::id::{SpanContext, TraceId};
use crate::platform::host;
use crate::recording::ObservationHandle;

/// What a score is of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScoreTarget {
    /// A trace.
    Trace(TraceId),
    /// An observation.
    Observation(SpanContext),
    /// A session, by its id.
    Session(String),
    /// A run of a dataset, by its id.
    DatasetRun(String),
}

/// What a score says. Numbers, booleans and strings are turned into the first three.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ScoreValue {
    /// A finite number.
    Numeric(f64),
    /// Yes or no.
    Boolean(bool),
    /// One of several names.
    Categorical(String),
    /// A text of 1 to 500 characters.
    Text(String),
    /// What the output of a trace or an observation should have been.
    Correction(String),
}

impl From<f64> for ScoreValue {
    fn from(value: f64) -> Self {
        Self::Numeric(value)
    }
}

impl From<i32> for ScoreValue {
    fn from(value: i32) -> Self {
        Self::Numeric(value.into())
    }
}

impl From<bool> for ScoreValue {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<&str> for ScoreValue {
    fn from(value: &str) -> Self {
        Self::Categorical(value.to_owned())
    }
}

impl From<String> for ScoreValue {
    fn from(value: String) -> Self {
        Self::Categorical(value)
    }
}

/// Describes a score before it is recorded.
#[derive(Debug)]
#[must_use = "a score is recorded once it is created"]
pub struct ScoreBuilder {
    langfuse: Langfuse,
    /// None when it was to be of what is current, and nothing was.
    target: Option<ScoreTarget>,
    name: String,
    value: ScoreValue,
    id: Option<String>,
    comment: Option<String>,
    metadata: Option<Value>,
    config_id: Option<String>,
    environment: Option<String>,
}

impl Langfuse {
    /// Begins to describe a score. It follows the sampling of its trace.
    pub fn score(
        &self,
        target: ScoreTarget,
        name: impl Into<String>,
        value: impl Into<ScoreValue>,
    ) -> ScoreBuilder {
        ScoreBuilder::new(self, Some(target), name.into(), value.into())
    }
}

/// Scores of what is current for this client. Where nothing is, they are left out with a warning.
impl Langfuse {
    /// Begins to describe a score of the current observation.
    pub fn score_active_observation(
        &self,
        name: impl Into<String>,
        value: impl Into<ScoreValue>,
    ) -> ScoreBuilder {
        self.score_active(name, value, |current| ScoreTarget::Observation(current.context()))
    }

    /// Begins to describe a score of the trace that the current observation belongs to.
    pub fn score_active_trace(&self, name: impl Into<String>, value: impl Into<ScoreValue>) -> ScoreBuilder {
        self.score_active(name, value, |current| ScoreTarget::Trace(current.trace_id()))
    }

    fn score_active(
        &self,
        name: impl Into<String>,
        value: impl Into<ScoreValue>,
        target: fn(&ObservationHandle) -> ScoreTarget,
    ) -> ScoreBuilder {
        ScoreBuilder::new(self, self.current_observation().as_ref().map(target), name.into(), value.into())
    }
}

impl ObservationHandle {
    /// Begins to describe a score of this observation, which may have ended.
    pub fn score(&self, name: impl Into<String>, value: impl Into<ScoreValue>) -> ScoreBuilder {
        self.langfuse().score(ScoreTarget::Observation(self.context()), name, value)
    }

    /// Begins to describe a score of the trace that this observation belongs to.
    pub fn score_trace(&self, name: impl Into<String>, value: impl Into<ScoreValue>) -> ScoreBuilder {
        self.langfuse().score(ScoreTarget::Trace(self.trace_id()), name, value)
    }
}

impl ScoreBuilder {
    fn new(langfuse: &Langfuse, target: Option<ScoreTarget>, name: String, value: ScoreValue) -> Self {
        Self {
            langfuse: langfuse.clone(),
            target,
            name,
            value,
            id: None,
            comment: None,
            metadata: None,
            config_id: None,
            environment: None,
        }
    }

    /// Its id. A score of the same id and name replaces the one of the same day. Default: an id made of what the score
    /// says, so that the same score, recorded again, is still one score.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// A sentence to go with it.
    pub fn comment(mut self, comment: impl Into<String>) -> Self {
        self.comment = Some(comment.into());
        self
    }

    /// Anything else.
    pub fn metadata(mut self, metadata: &(impl Serialize + ?Sized)) -> Self {
        self.metadata = serde_json::to_value(metadata).ok();
        self
    }

    /// The score config, by its id, that its value must agree with.
    pub fn config_id(mut self, config_id: impl Into<String>) -> Self {
        self.config_id = Some(config_id.into());
        self
    }

    /// The environment, when it is not the client's.
    pub fn environment(mut self, environment: impl Into<String>) -> Self {
        self.environment = Some(environment.into());
        self
    }

    /// Records the score; the next flush sends it. One that Langfuse could not take is left out with a warning that says
    /// why: recording never fails.
    pub fn create(self) {
        if !self.langfuse.is_enabled() {
            return;
        }
        let (trace_id, body) = match self.check() {
            Ok(target) => self.body(target),
            Err(error) => {
                return host::warn(&["langfuse-edge: the score is left out: ", error.message()].concat());
            }
        };
        let id = self.id.as_deref();
        self.langfuse.record_score(id, trace_id, &body, self.environment.is_some());
    }

    /// The rules of `score-create` that the types leave open.
    fn check(&self) -> Result<&ScoreTarget, Error> {
        let rule = |holds: bool, sentence| if holds { Ok(()) } else { Err(Error::configuration(sentence)) };
        rule(!self.name.is_empty(), "name must not be empty")?;
        let is_id = |id: &String| (1..=800).contains(&id.chars().count()) && !id.contains('\r');
        rule(self.id.as_ref().is_none_or(is_id), "id must have 1 to 800 characters and no carriage return")?;
        let target = self.target.as_ref();
        let target = target.ok_or_else(|| Error::configuration("there is no current observation"))?;
        match (&self.value, target) {
            (ScoreValue::Numeric(value), _) => rule(value.is_finite(), "value must be a finite number"),
            (ScoreValue::Text(text), _) => {
                rule((1..=500).contains(&text.chars().count()), "a text value must have 1 to 500 characters")
            }
            (ScoreValue::Correction(_), ScoreTarget::Session(_) | ScoreTarget::DatasetRun(_)) => {
                rule(false, "a correction must be of a trace or an observation")
            }
            _ => Ok(()),
        }?;
        Ok(target)
    }

    fn body(&self, target: &ScoreTarget) -> (Option<TraceId>, String) {
        let mut body = Body { id: self.id.as_deref(), name: &self.name, ..Body::default() };
        let mut trace_id = None;
        let mut of_trace = |id: TraceId| {
            trace_id = Some(id);
            Some(id.to_hex())
        };
        match target {
            ScoreTarget::Trace(id) => body.trace_id = of_trace(*id),
            ScoreTarget::Observation(context) => {
                body.trace_id = of_trace(context.trace_id);
                body.observation_id = Some(context.observation_id.to_hex());
            }
            ScoreTarget::Session(id) => body.session_id = Some(id),
            ScoreTarget::DatasetRun(id) => body.dataset_run_id = Some(id),
        }
        (body.data_type, body.value) = match &self.value {
            ScoreValue::Numeric(value) => ("NUMERIC", (*value).into()),
            // Langfuse takes no JSON `true` here.
            ScoreValue::Boolean(value) => ("BOOLEAN", u8::from(*value).into()),
            ScoreValue::Categorical(value) => ("CATEGORICAL", value.as_str().into()),
            ScoreValue::Text(value) => ("TEXT", value.as_str().into()),
            ScoreValue::Correction(value) => ("CORRECTION", value.as_str().into()),
        };
        body.comment = self.comment.as_deref();
        body.metadata = self.metadata.as_ref();
        body.config_id = self.config_id.as_deref();
        body.environment = self.environment.as_deref();
        // Of strings, numbers and a JSON value, which cannot fail.
        (trace_id, serde_json::to_string(&body).unwrap_or_default())
    }
}

/// The fields of `score-create`.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dataset_run_id: Option<&'a str>,
    name: &'a str,
    value: Value,
    data_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<&'a str>,
}
