//! Records every span and every event of a process that flushes again and again.

use std::time::Duration;

use langfuse_edge::{LangfuseLayer, init};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::prelude::*;

fn main() {
    let guard = init().expect("the variables are valid");
    let everything = LangfuseLayer::new().all_spans(true).events(LevelFilter::TRACE);
    tracing_subscriber::registry().with(everything).init();
    tracing::info_span!("work").in_scope(|| {
        log::warn!(target: "somewhere", "logged");
        for _ in 0..3 {
            guard.langfuse().flush_blocking(Duration::from_secs(10));
        }
    });
    while guard.langfuse().stats().delivered < 2 {
        guard.langfuse().flush_blocking(Duration::from_secs(10));
    }
}
