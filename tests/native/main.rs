//! The native client, over real HTTP against the receiver.

mod bounds;
mod context;
mod doctor;
mod endings;
mod examples;
mod flush;
mod llm;
mod observability;
mod observations;
#[cfg(feature = "macros")]
mod observe;
mod open;
#[cfg(unix)]
mod process;
mod process_wide;
mod program;
mod receiver;
#[cfg(feature = "macros")]
mod refusals;
mod scores;
#[cfg(unix)]
mod server;
mod sink;
mod steps;
#[cfg(feature = "tracing")]
mod tracing;
mod workflow;
