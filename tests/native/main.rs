//! The native client, over real HTTP against the receiver.

mod bounds;
mod examples;
mod flush;
mod open;
mod receiver;
mod scores;
mod workflow;
