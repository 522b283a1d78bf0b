//! The native client, over real HTTP against the receiver.

mod bounds;
mod context;
mod examples;
mod flush;
mod llm;
mod observations;
mod open;
mod receiver;
mod scores;
mod workflow;
