//! What the tests of this program share, because the process has one of it.

use std::sync::{Mutex, Once, PoisonError};

use langfuse_edge::{Langfuse, set_langfuse};
use log::{Level, Log, Metadata, Record};
use tokio::sync::MutexGuard;

/// Makes this the process-wide client, until the guard is dropped: tests that have one take turns.
pub(crate) async fn process_wide(langfuse: Langfuse) -> MutexGuard<'static, ()> {
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let turn = TURN.lock().await;
    set_langfuse(langfuse);
    turn
}

/// Collects what all tests of this program make the client say.
struct Said(Mutex<Vec<(Level, String)>>);

static SAID: Said = Said(Mutex::new(Vec::new()));

impl Log for Said {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("langfuse_edge")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let said = (record.level(), record.args().to_string());
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(said);
        }
    }

    fn flush(&self) {}
}

/// From now on what is said is collected.
pub(crate) fn listen() {
    static LISTENS: Once = Once::new();
    LISTENS.call_once(|| {
        log::set_logger(&SAID).expect("nobody else sets one");
        log::set_max_level(log::LevelFilter::Debug);
    });
}

/// The warnings so far that have all of these words.
pub(crate) fn warnings_with(words: &[&str]) -> Vec<String> {
    said_with(Level::Warn, words)
}

pub(crate) fn said_with(level: Level, words: &[&str]) -> Vec<String> {
    let said = SAID.0.lock().unwrap_or_else(PoisonError::into_inner);
    let of_level = said.iter().filter(|(of, _)| *of == level).map(|(_, line)| line);
    of_level.filter(|line| words.iter().all(|word| line.contains(word))).cloned().collect()
}
