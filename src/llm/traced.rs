//! Functions that call a language model, each call of which is a generation.

use std::fmt::Display;
use std::future::Future;

use serde::Serialize;

use super::LlmCall;
use crate::client::Langfuse;
use crate::process_wide::active_langfuse;

/// A function that calls a language model, each call of which is a generation: a child of the current observation, with
/// the request as [`LlmCall::start`] reads it and the response as [`LlmCall::end`] does.
#[derive(Clone, Debug)]
pub struct TracedLlm<Function> {
    langfuse: Option<Langfuse>,
    name: String,
    pub(super) function: Function,
}

/// Wraps a function that calls a language model, so that each call is a generation called `name`.
///
/// ```
/// use langfuse_edge::trace_llm;
/// use serde_json::{Value, json};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # langfuse_edge::set_langfuse(langfuse_edge::Langfuse::disabled());
/// let llm = trace_llm("answer", async |request: Value| {
///     // A request to your model.
///     Ok::<_, String>(json!({ "output": "Hello!", "usage": { "input": 1, "output": 2 } }))
/// });
/// let answer = llm.call(json!({ "model": "gpt-4o", "prompt": "Hi" })).await;
/// # assert!(answer.is_ok());
/// # }
/// ```
///
/// The client is the one that is current at a call, else the process-wide one;
/// [`LlmCallbackHandler::trace_llm`](super::LlmCallbackHandler::trace_llm) has one of its own.
pub fn trace_llm<Function>(name: impl Into<String>, function: Function) -> TracedLlm<Function> {
    TracedLlm::new(None, name.into(), function)
}

impl<Function> TracedLlm<Function> {
    pub(crate) fn new(langfuse: Option<Langfuse>, name: String, function: Function) -> Self {
        Self { langfuse, name, function }
    }

    /// Calls the function. A call that fails has level ERROR, one that is dropped before its end level WARNING.
    ///
    /// # Errors
    /// Those of the function, unchanged.
    pub async fn call<Request, Call, Response, E>(&self, request: Request) -> Result<Response, E>
    where
        Function: Fn(Request) -> Call,
        Call: Future<Output = Result<Response, E>>,
        Request: Serialize,
        Response: Serialize,
        E: Display,
    {
        let call = self.start(&request);
        let result = call.scope((self.function)(request)).await;
        match &result {
            Ok(response) => call.end(response),
            Err(error) => call.error(error),
        }
        result
    }

    pub(super) fn start(&self, request: &impl Serialize) -> LlmCall {
        let langfuse = self.langfuse.clone().unwrap_or_else(active_langfuse);
        LlmCall::start(langfuse.generation(self.name.as_str()), request)
    }
}
