use std::sync::{Mutex, PoisonError};

use langfuse_edge::Langfuse;
use langfuse_edge::config::Setting;
use langfuse_edge::observation::{Attributes, Field};
use log::{Log, Metadata, Record};

use crate::receiver::Receiver;

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

fn warnings_about_the_queue() -> usize {
    let warnings = WARNINGS.0.lock().unwrap_or_else(PoisonError::into_inner);
    warnings.iter().filter(|words| words.contains("dropped") && words.contains("64 MiB")).count()
}

#[tokio::test]
async fn that_observations_are_dropped_is_said_once_and_again_only_after_a_flush_that_has_delivered_everything()
 {
    log::set_logger(&WARNINGS).expect("no other test sets one");
    log::set_max_level(log::LevelFilter::Warn);
    let receiver = Receiver::start();
    let langfuse =
        Langfuse::new(&receiver.options().with(Setting::FlushInterval, "3600")).expect("valid options");

    record_large(&langfuse, 63);
    assert_eq!((langfuse.stats().dropped, warnings_about_the_queue()), (0, 0));
    record_large(&langfuse, 7);
    assert_eq!((langfuse.stats().dropped, warnings_about_the_queue()), (7, 1));

    let with_drops = langfuse.flush().await;
    record_large(&langfuse, 70);
    assert_eq!((with_drops.ok, with_drops.drop_reasons.queue_full), (false, 7));
    assert_eq!((langfuse.stats().dropped, warnings_about_the_queue()), (14, 1));

    assert!(!langfuse.flush().await.ok);
    record_large(&langfuse, 1);
    assert!(langfuse.flush().await.ok);
    record_large(&langfuse, 70);
    assert_eq!((langfuse.stats().dropped, warnings_about_the_queue()), (21, 2));

    // What is recorded after the end is dropped because of that.
    langfuse.shutdown().await;
    record_large(&langfuse, 70);
    assert_eq!((langfuse.stats().dropped, warnings_about_the_queue()), (91, 2));
}

/// Records observations of 1 MiB, of which 64 MiB hold 63.
fn record_large(langfuse: &Langfuse, count: usize) {
    let mut attributes = Attributes::default();
    attributes.fields.set(Field::Input, "x".repeat(1024 * 1024));
    for _ in 0..count {
        langfuse.observe("large").attributes(attributes.clone()).start().end();
    }
}
