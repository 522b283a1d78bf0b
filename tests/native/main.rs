//! The native client, over real HTTP against the receiver.

mod bounds;
mod context;
mod examples;
mod flush;
mod llm;
mod observations;
#[cfg(feature = "macros")]
mod observe;
mod open;
mod receiver;
#[cfg(feature = "macros")]
mod refusals;
mod scores;
mod workflow;
