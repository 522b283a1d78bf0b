//! Records every span and every event of a process that flushes again and again, beginning with the making of its client.

use std::time::Duration;

use langfuse_edge::{LangfuseLayer, langfuse};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::prelude::*;

fn main() {
    let everything = LangfuseLayer::new().all_spans(true).events(LevelFilter::TRACE);
    tracing_subscriber::registry().with(everything).init();
    tracing::info_span!("work").in_scope(|| {
        log::warn!(target: "somewhere", "logged");
        for _ in 0..3 {
            langfuse().flush_blocking(Duration::from_secs(10));
        }
    });
    assert!(langfuse().flush_blocking(Duration::from_secs(10)).ok, "the span has been delivered, too");
}
