//! What all observations of a trace say: the user, the session, tags.

use std::future::Future;

use crate::client::Langfuse;
use crate::context::{self, Context};
use crate::observation::{Field, TraceAttributes};
use crate::platform::host;
use crate::process_wide::langfuse;

/// A longer text is an error of the caller's more often than not, and Langfuse's own clients drop it.
const LONGEST: usize = 200;
const LONGEST_ENVIRONMENT: usize = 40;

/// What the current observation and all that start within a scope say of their trace: whose it is, and what it is about.
///
/// Within another scope, tags and metadata are added to its own, and anything else replaces it. A text of more than 200
/// characters is left out, as is an environment that is not 1 to 40 of `a-z 0-9 _ -` or that begins with `langfuse`; a
/// warning names each. An empty text says nothing, and takes nothing away.
///
/// ```
/// use langfuse_edge::{Langfuse, PropagatedAttributes};
///
/// let langfuse = Langfuse::disabled();
/// PropagatedAttributes::new().user_id("user-1").session_id("session-1").tag("beta").in_scope(|| {
///     langfuse.observe("request").start().end();
/// });
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "attributes are propagated within a scope"]
pub struct PropagatedAttributes {
    trace: TraceAttributes,
    langfuse: Option<Langfuse>,
}

impl PropagatedAttributes {
    /// Says nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The user the trace belongs to.
    pub fn user_id(self, user_id: impl Into<String>) -> Self {
        self.with(Field::UserId, "user_id", user_id.into())
    }

    /// The session the trace belongs to.
    pub fn session_id(self, session_id: impl Into<String>) -> Self {
        self.with(Field::SessionId, "session_id", session_id.into())
    }

    /// The trace's name.
    pub fn trace_name(self, name: impl Into<String>) -> Self {
        self.with(Field::TraceName, "trace_name", name.into())
    }

    /// The version of the code.
    pub fn version(self, version: impl Into<String>) -> Self {
        self.with(Field::Version, "version", version.into())
    }

    /// The environment, when it is not the client's.
    pub fn environment(self, environment: impl Into<String>) -> Self {
        let environment = environment.into();
        let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        let is_valid = (1..=LONGEST_ENVIRONMENT).contains(&environment.len())
            && environment.bytes().all(is_plain)
            && !environment.starts_with("langfuse");
        if is_valid {
            return self.with(Field::Environment, "environment", environment);
        }
        warn("environment", "1 to 40 of a-z 0-9 _ - and must not begin with langfuse");
        self
    }

    /// A tag of the trace.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        let tag = tag.into();
        if is_short(&tag, "tag") {
            self.trace.tags.push(tag);
        }
        self
    }

    /// Anything else about the trace, by name.
    pub fn metadata(mut self, name: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        if is_short(&value, name) {
            self.trace.metadata.set(name, value.into());
        }
        self
    }

    /// The Langfuse prompt the generations are made with, by its name and version.
    pub fn prompt(self, name: impl Into<String>, version: u16) -> Self {
        self.with(Field::PromptName, "prompt", name.into()).with(
            Field::PromptVersion,
            "prompt",
            version.to_string(),
        )
    }

    /// The client whose observations say it. Default: the one that was made current last, else the process-wide one.
    pub fn client(mut self, langfuse: &Langfuse) -> Self {
        self.langfuse = Some(langfuse.clone());
        self
    }

    /// Runs `future` with these: the observation that is current then, and all that start within, say it.
    pub fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> + use<F> {
        context::entering(|around| self.within(around), future)
    }

    /// As [`scope`](Self::scope), for code that is not async.
    pub fn in_scope<T>(self, work: impl FnOnce() -> T) -> T {
        self.within(Context::current()).in_scope(work)
    }

    fn within(self, around: Context) -> Context {
        let client = self.langfuse.or_else(|| around.langfuse().cloned()).unwrap_or_else(langfuse);
        if let Some(observation) = around.observation_of(&client) {
            observation.say_of_trace(&self.trace);
        }
        around.with_propagated(client, &self.trace)
    }

    fn with(mut self, field: Field, name: &str, text: String) -> Self {
        if !text.is_empty() && is_short(&text, name) {
            self.trace.fields.set(field, text);
        }
        self
    }
}

/// Runs `future`, within which the current observation and all that start say what `attributes` says.
///
/// ```
/// use langfuse_edge::{Langfuse, PropagatedAttributes, propagate_attributes};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let langfuse = Langfuse::disabled();
/// propagate_attributes(PropagatedAttributes::new().user_id("user-1"), async {
///     langfuse.observe("request").start().end();
/// })
/// .await;
/// # }
/// ```
pub fn propagate_attributes<F: Future>(
    attributes: PropagatedAttributes,
    future: F,
) -> impl Future<Output = F::Output> + use<F> {
    attributes.scope(future)
}

fn is_short(text: &str, name: &str) -> bool {
    let is_short = text.chars().nth(LONGEST).is_none();
    if !is_short {
        warn(name, "a text of at most 200 characters");
    }
    is_short
}

fn warn(name: &str, rule: &str) {
    host::warn(&["langfuse-edge: propagated attributes: ", name, " is left out: it must be ", rule].concat());
}
