//! What records that wait cost in memory: live bytes of the allocator for each, at most, and after the flush.
//!
//! Prints JSON. The receiver at the URL that it is given is another process, whose memory does not count.

use std::error::Error;
use std::time::Duration;

use dhat::{HeapStats, Profiler};
use langfuse_edge::config::Setting;
use langfuse_edge::{Langfuse, ObservationHandle, Options, Usage};
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const FLUSH: Duration = Duration::from_secs(60);

#[expect(clippy::print_stdout, reason = "that is what this program is for")]
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [url, count] = &arguments[..] else { return Err("a URL and how many observations".into()) };
    let count = count.parse::<u64>()?;
    let _profiler = Profiler::builder().testing().trim_backtraces(Some(1)).build();
    let options = Options::default().keys("pk-lf-dev", "sk-lf-dev").base_url(url);
    // Nothing is sent while it is measured.
    let by_hand = options.with(Setting::FlushAt, "4000000000").with(Setting::FlushInterval, "0");
    let langfuse = Langfuse::new(&by_hand)?;
    let (question, answer) = (question(), "y".repeat(1000));
    let root = langfuse.observe("request").start();
    // What is made once: the connection, the queue's first room.
    record(&root, &question, &answer);
    langfuse.flush_blocking(FLUSH);

    let base = HeapStats::get();
    for _ in 0..count {
        record(&root, &question, &answer);
    }
    let full = HeapStats::get();
    let waiting = langfuse.stats();
    let report = langfuse.flush_blocking(FLUSH);
    let after = HeapStats::get();
    let live = |stats: &HeapStats| stats.curr_bytes as f64 - base.curr_bytes as f64;
    let result = json!({
        "queued": waiting.queued,
        "encodedBytes": waiting.bytes,
        "liveBytes": live(&full),
        "afterFlush": live(&after),
        "peakBytes": after.max_bytes - base.curr_bytes,
        "allocations": (full.total_blocks - base.total_blocks) as f64 / count as f64,
        "delivered": report.delivered,
        "dropped": langfuse.stats().dropped,
    });
    println!("{result}");
    Ok(())
}

fn record(root: &ObservationHandle, question: &Value, answer: &str) {
    let generation = root.observe("answer").model("gpt-4o").input(question).start();
    generation.output(answer).usage(Usage::new(512, 128)).end();
}

fn question() -> Value {
    json!([{ "role": "system", "content": "You answer." }, { "role": "user", "content": "x".repeat(900) }])
}
