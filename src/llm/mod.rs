//! Calls of language models: generations with model, parameters, messages, output, token usage and the time of the first
//! token, that end once.

#[cfg(feature = "stream")]
mod chunks;
mod handler;
mod shapes;
#[cfg(feature = "stream")]
mod stream;
mod traced;

pub use handler::LlmCallbackHandler;
pub use traced::{TracedLlm, trace_llm};

use std::fmt::Display;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::observation::Level;
use crate::observed::Running;
use crate::platform::host;
use crate::recording::{ObservationBuilder, ObservationHandle};

/// A call of a language model that is under way. It ends once: with its answer, with an error, or, dropped before
/// either, with level WARNING.
///
/// ```
/// use langfuse_edge::{Langfuse, LlmCall};
/// use serde_json::json;
///
/// let langfuse = Langfuse::disabled();
/// let request = json!({ "model": "gpt-4o", "temperature": 0.2, "messages": [{ "role": "user", "content": "Hi" }] });
/// let call = LlmCall::start(langfuse.generation("greet"), &request);
/// call.first_token();
/// call.end(&json!({
///     "model": "gpt-4o-2024-11-20",
///     "choices": [{ "message": { "role": "assistant", "content": "Hello!" } }],
///     "usage": { "prompt_tokens": 1, "completion_tokens": 2 },
/// }));
/// ```
#[derive(Debug)]
#[must_use = "a call that is dropped is one that was given up"]
pub struct LlmCall {
    running: Running,
    has_first_token: AtomicBool,
}

impl LlmCall {
    /// Starts a generation that says what the request says, as APIs of language models have it: `model`; `messages` (with
    /// `tools` and `system`), `prompt`, `input` or `contents`; parameters such as `temperature`. Of a request of
    /// another form, all is the input.
    pub fn start(generation: ObservationBuilder, request: &(impl Serialize + ?Sized)) -> Self {
        let running = Running::start(generation);
        if running.is_recorded() {
            running.attributes(shapes::request(request));
        }
        Self { running, has_first_token: AtomicBool::new(false) }
    }

    /// The model's first token has come. Later tokens change nothing.
    pub fn first_token(&self) {
        if !self.has_first_token.swap(true, Ordering::Relaxed) {
            self.running.completion_start_time(host::now());
        }
    }

    /// Ends it with what the response says, as APIs of language models have it: `model`; `choices`, `content`, `output` or
    /// `candidates`; `usage`, whose details are counted apart. Of a response of another form, all is the output.
    pub fn end(self, response: &(impl Serialize + ?Sized)) {
        if self.running.is_recorded() {
            self.running.attributes(shapes::response(response));
        }
        self.running.complete();
    }

    /// Ends it with level ERROR and the error as the status message.
    pub fn error(self, error: &(impl Display + ?Sized)) {
        self.running.error(error);
        self.running.complete();
    }

    /// Ends it with level WARNING: nobody will end it otherwise.
    fn give_up(self, why: &str) {
        self.running.complain(Level::Warning, why);
        self.running.complete();
    }
}

impl Deref for LlmCall {
    type Target = ObservationHandle;

    fn deref(&self) -> &ObservationHandle {
        &self.running
    }
}
