//! The tracing of a whole process: its client and its handler of calls of language models, how they are doing, and their
//! flush.

pub(crate) mod flush;
mod status;

pub use flush::{AddedFlushHandler, add_flush_handler, flush_langfuse, flush_langfuse_within};
pub use status::{Status, status, status_of};

pub use crate::health::LastError;

use std::sync::LazyLock;

use crate::client::Langfuse;
use crate::llm::LlmCallbackHandler;
use crate::process_wide::langfuse;

/// The process-wide client, as [`langfuse`] gives it.
#[must_use]
pub fn client() -> Langfuse {
    langfuse()
}

/// The process-wide handler of calls of language models. Its calls are recorded by the client that is current when they
/// start, else by the process-wide one.
#[must_use]
pub fn handler() -> LlmCallbackHandler {
    static HANDLER: LazyLock<LlmCallbackHandler> = LazyLock::new(LlmCallbackHandler::default);
    HANDLER.clone()
}

/// Whether the process-wide client records anything.
#[must_use]
pub fn is_enabled() -> bool {
    langfuse().is_enabled()
}
