//! What the tests of this program share, because the process has one of it.

use std::sync::{Mutex, Once, PoisonError};

use langfuse_edge::{Langfuse, set_langfuse};
use log::{Log, Metadata, Record};
use tokio::sync::MutexGuard;

/// Makes this the process-wide client, until the guard is dropped: tests that have one take turns.
pub(crate) async fn process_wide(langfuse: Langfuse) -> MutexGuard<'static, ()> {
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let turn = TURN.lock().await;
    set_langfuse(langfuse);
    turn
}

/// Collects what all tests of this program make the client say.
struct Warnings(Mutex<Vec<String>>);

static WARNINGS: Warnings = Warnings(Mutex::new(Vec::new()));

impl Log for Warnings {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if record.level() == log::Level::Warn {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// From now on warnings are collected.
pub(crate) fn listen() {
    static LISTENS: Once = Once::new();
    LISTENS.call_once(|| {
        log::set_logger(&WARNINGS).expect("nobody else sets one");
        log::set_max_level(log::LevelFilter::Warn);
    });
}

/// The warnings so far that have all of these words.
pub(crate) fn warnings_with(words: &[&str]) -> Vec<String> {
    let warnings = WARNINGS.0.lock().unwrap_or_else(PoisonError::into_inner);
    warnings.iter().filter(|warning| words.iter().all(|word| warning.contains(word))).cloned().collect()
}
