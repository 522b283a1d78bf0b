//! Stories of the core, told through its public face, natively and in wasm.

#![expect(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod bounds;
mod config;
#[cfg(not(target_arch = "wasm32"))]
mod encoding;
mod encoding_golden;
mod endings;
mod flush;
mod ids;
mod leases;
mod open;
mod overflow;
mod refusals;
mod retry;
mod sampling;
mod scope;
mod scores;
mod secrecy;
#[cfg(not(target_arch = "wasm32"))]
mod simulation;
#[cfg(not(target_arch = "wasm32"))]
mod tidy;
mod time;

mod body;
mod host;
mod records;
