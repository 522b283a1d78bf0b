#![doc = include_str!("../README.md")]
#![warn(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod config;
pub mod error;
pub mod id;
mod lock;
pub mod time;

pub mod observation;
pub mod open;
pub mod sampling;
pub mod wire;

mod flush;
#[cfg_attr(
    all(target_arch = "wasm32", feature = "js"),
    expect(dead_code, reason = "of its clients the npm package's TypeScript knows that")
)]
mod health;
mod lane;
mod lease;
mod queue;
pub mod report;
pub mod retry;
#[cfg(not(all(target_arch = "wasm32", feature = "js")))]
mod state;
mod table;

pub mod exporter;

#[cfg(not(target_arch = "wasm32"))]
mod native;
#[cfg(target_arch = "wasm32")]
pub mod wasm;
#[cfg(not(target_arch = "wasm32"))]
use native as platform;
#[cfg(target_arch = "wasm32")]
use wasm as platform;

// For the fuzz targets.
#[cfg(not(target_arch = "wasm32"))]
#[doc(hidden)]
pub use native::parse_verdicts;

#[cfg(all(feature = "tracing", not(target_arch = "wasm32")))]
pub use native::LangfuseLayer;
#[cfg(not(target_arch = "wasm32"))]
pub use native::{FlushGuard, flush_langfuse_blocking, init, init_with, shutdown_signal};

#[cfg(feature = "stream")]
#[doc(hidden)]
pub mod __private;
mod client;
mod context;
mod describe;
mod llm;
pub mod observability;
mod observed;
mod panics;
mod plain;
mod process_wide;
mod propagate;
mod recording;
mod score;
#[cfg(feature = "stream")]
mod stream;
mod workflow;

/// ```
/// use langfuse_edge::observe;
///
/// #[observe(kind = "retriever", skip(limit))]
/// async fn search(query: &str, limit: usize) -> Result<Vec<String>, std::io::Error> {
///     Ok(vec![query.to_owned(); limit])
/// }
/// ```
#[cfg(feature = "macros")]
pub use langfuse_edge_macros::observe;
/// ```
/// use langfuse_edge::step;
///
/// #[step]
/// async fn triage(mail: &str) -> Result<String, std::io::Error> {
///     Ok(mail.to_owned())
/// }
/// ```
#[cfg(feature = "macros")]
pub use langfuse_edge_macros::step;

pub use client::Langfuse;
pub use config::Options;
pub use context::{Context, current_observation};
pub use describe::Usage;
pub use error::Error;
pub use id::{ObservationId, SpanContext, TraceId};
pub use llm::{LlmCall, LlmCallbackHandler, TracedLlm, trace_llm};
pub use observability::{add_flush_handler, flush_langfuse, flush_langfuse_within};
pub use observation::{Level, ObservationKind};
pub use process_wide::{langfuse, observe, set_langfuse};
pub use propagate::{PropagatedAttributes, propagate_attributes};
pub use recording::{Observation, ObservationBuilder, ObservationHandle};
pub use report::{DropReason, DropReasons, FlushReport, Rejection, Stats};
pub use score::{ScoreBuilder, ScoreTarget, ScoreValue};
pub use time::Timestamp;
pub use workflow::{StepFlush, Workflow, run_workflow_with_flush, step};

/// The Rust in the documents compiles.
#[cfg(doctest)]
#[doc = include_str!("../docs/quick-starts.md")]
#[doc = include_str!("../docs/recording.md")]
#[doc = include_str!("../docs/usage.md")]
#[doc = include_str!("../docs/workflows.md")]
mod documents {}
