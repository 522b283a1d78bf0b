//! The native client, over real HTTP against the receiver.

mod bounds;
mod endings;
mod examples;
mod flush;
mod open;
#[cfg(unix)]
mod process;
mod receiver;
mod scores;
mod sink;
#[cfg(feature = "tracing")]
mod tracing;
mod workflow;
