//! The process-wide client.

use std::sync::{Mutex, MutexGuard};

use crate::client::Langfuse;
use crate::context::Context;
use crate::lock::unpoisoned;
use crate::platform::host;
use crate::recording::ObservationBuilder;

static LANGFUSE: Mutex<Option<Langfuse>> = Mutex::new(None);

/// Makes this the process-wide client.
pub fn set_langfuse(langfuse: Langfuse) {
    let before = lock().replace(langfuse);
    // Without the lock: whoever drops the last clone of a client waits until that has been flushed.
    drop(before);
}

/// The process-wide client: the one that was set, else one made from the environment on first use.
///
/// Without keys, or with a variable that cannot be used, it is disabled, and one warning says why.
#[must_use]
pub fn langfuse() -> Langfuse {
    if let Some(langfuse) = &*lock() {
        return langfuse.clone();
    }
    // Made without the lock: a warning may run code of the user's that asks for the client.
    let made = Langfuse::from_env().unwrap_or_else(|error| {
        host::warn(&format!("langfuse-edge: tracing is disabled: {error}"));
        Langfuse::disabled_because(|| error.message().to_owned())
    });
    lock().get_or_insert(made).clone()
}

/// Begins to describe an observation of the client that was made current last, else of the process-wide one: a child
/// of the current observation, or the root of a new trace.
pub fn observe(name: impl Into<String>) -> ObservationBuilder {
    active_langfuse().observe(name)
}

/// The client that was made current last, else the process-wide one.
pub(crate) fn active_langfuse() -> Langfuse {
    Context::current().langfuse().cloned().unwrap_or_else(langfuse)
}

fn lock() -> MutexGuard<'static, Option<Langfuse>> {
    unpoisoned(LANGFUSE.lock())
}
