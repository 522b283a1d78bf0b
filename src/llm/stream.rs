//! Calls whose response comes in chunks.

use std::fmt::Display;
use std::future::Future;
use std::ops::Deref;

use futures_core::Stream;
use serde::Serialize;

use super::chunks::Chunks;
use super::{LlmCall, TracedLlm, shapes};
use crate::observation::Level;
use crate::platform::host;
use crate::stream::{Observed, Reader, STOPPED_EARLY};

/// Feature `stream`.
impl LlmCall {
    /// Reads `stream`, the chunks of the response, and ends the call with it. The first chunk is the first token. The output
    /// is the response as if it had come at once, where the chunks are those of OpenAI's or Anthropic's APIs; of texts the
    /// whole text, and of any other form a list of the chunks.
    ///
    /// An error in the stream gives level ERROR, a consumer that stops early level WARNING, both with the output until then.
    pub fn stream<S, Chunk, E>(self, stream: S) -> impl Stream<Item = Result<Chunk, E>> + use<S, Chunk, E>
    where
        S: Stream<Item = Result<Chunk, E>>,
        Chunk: Serialize,
        E: Display,
    {
        let observation = self.deref().clone();
        let reader = Response { call: Some(self), chunks: Chunks::default(), has_failed: false };
        Observed::new(observation, stream, reader)
    }
}

/// Feature `stream`.
impl<Function> TracedLlm<Function> {
    /// As [`call`](Self::call), of a function that gives the chunks of the response: see [`LlmCall::stream`].
    ///
    /// # Errors
    /// Those of the function, unchanged.
    pub async fn stream<Request, Call, S, Chunk, ChunkError, E>(
        &self,
        request: Request,
    ) -> Result<
        impl Stream<Item = Result<Chunk, ChunkError>> + use<Function, Request, Call, S, Chunk, ChunkError, E>,
        E,
    >
    where
        Function: Fn(Request) -> Call,
        Call: Future<Output = Result<S, E>>,
        S: Stream<Item = Result<Chunk, ChunkError>>,
        Request: Serialize,
        Chunk: Serialize,
        ChunkError: Display,
        E: Display,
    {
        let call = self.start(&request);
        match call.scope((self.function)(request)).await {
            Ok(stream) => Ok(call.stream(stream)),
            Err(error) => {
                call.error(&error);
                Err(error)
            }
        }
    }
}

/// Puts the response of a call together.
#[derive(Debug)]
struct Response {
    call: Option<LlmCall>,
    chunks: Chunks,
    has_failed: bool,
}

impl Response {
    fn end(&mut self, is_early: bool) {
        let Some(call) = self.call.take() else { return };
        if call.is_recorded() {
            call.attributes(shapes::response(&std::mem::take(&mut self.chunks).response()));
        }
        if is_early && !self.has_failed && !host::is_panicking() {
            call.complain(Level::Warning, STOPPED_EARLY);
        }
        call.running.complete();
    }
}

impl<Chunk: Serialize, E: Display> Reader<Result<Chunk, E>> for Response {
    fn read(&mut self, item: &Result<Chunk, E>) {
        let Some(call) = self.call.as_ref().filter(|call| call.is_recorded()) else { return };
        match item {
            Ok(chunk) => {
                call.first_token();
                self.chunks.add(shapes::to_value(chunk));
            }
            Err(error) => {
                self.has_failed = true;
                call.running.error(error);
            }
        }
    }

    fn complete(mut self) {
        self.end(false);
    }
}

impl Drop for Response {
    fn drop(&mut self) {
        self.end(true);
    }
}
