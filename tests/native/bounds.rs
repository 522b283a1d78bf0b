use langfuse_edge::Langfuse;
use langfuse_edge::config::Setting;
use langfuse_edge::observation::{Attributes, Field};

use crate::process_wide::{listen, warnings_with};
use crate::receiver::Receiver;

fn warnings_about_the_queue() -> usize {
    warnings_with(&["dropped", "64 MiB"]).len()
}

#[tokio::test]
async fn that_observations_are_dropped_is_said_once_and_again_only_after_a_flush_that_has_delivered_everything()
 {
    listen();
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
