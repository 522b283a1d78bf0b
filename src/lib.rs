#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

pub mod config;
pub mod error;
pub mod id;
pub mod time;

pub mod observation;
pub mod open;
pub mod sampling;
pub mod wire;

mod flush;
mod lane;
mod lease;
mod queue;
pub mod report;
pub mod retry;
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
pub use native::{FlushGuard, init, init_with, shutdown_signal};

mod client;
mod context;
mod observability;
mod plain;
mod score;
mod workflow;

pub use client::{Langfuse, Observation, ObservationBuilder, Usage};
pub use config::Options;
pub use error::Error;
pub use id::{ObservationId, SpanContext, TraceId};
pub use observability::{flush_langfuse, langfuse, set_langfuse};
pub use observation::{Level, ObservationKind};
pub use report::{DropReason, DropReasons, FlushReport, Rejection, Stats};
pub use score::{ScoreBuilder, ScoreTarget, ScoreValue};
pub use time::Timestamp;
pub use workflow::{Workflow, run_workflow_with_flush, step};
