//! What it costs to record a generation of 2 kB, up to the moment its bytes wait to be sent.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use langfuse_edge::config::Setting;
use langfuse_edge::exporter::{Exporter, Settings};
use langfuse_edge::observation::{Attributes, Field, ObservationData};
use langfuse_edge::{
    Langfuse, ObservationId, ObservationKind, Options, SpanContext, Timestamp, TraceId, Usage, wire,
};
use serde_json::{Value, json};
use tokio::time::Instant;

#[expect(dead_code, reason = "a test asks it more")]
#[path = "../tests/native/sink.rs"]
mod sink;

/// As many as fit into the queue of 64 MiB.
const CHUNK: u64 = 10_000;

/// Everything a program does for one generation: describe it, serialize its values, encode it, queue it.
fn record(criterion: &mut Criterion) {
    let sink = sink::Sink::start();
    let options = Options::default().keys("pk-lf-dev", "sk-lf-dev").base_url(sink.url());
    // Nothing is sent while it is measured.
    let by_hand = options.with(Setting::FlushAt, "4000000000").with(Setting::FlushInterval, "0");
    let langfuse = Langfuse::new(&by_hand).expect("the options are valid");
    let (question, answer) = (question(), "y".repeat(1000));
    let root = langfuse.observe("request").user_id("user-1").start();
    let mut group = criterion.benchmark_group("2 kB generation");
    group.throughput(Throughput::Elements(1)).sample_size(20);
    group.bench_function("record, encode, queue", |bencher| {
        bencher.iter_custom(|count| {
            let mut spent = Duration::ZERO;
            let mut left = count;
            while left > 0 {
                let chunk = left.min(CHUNK);
                let start = Instant::now();
                for _ in 0..chunk {
                    let generation = root.generation("answer").model("gpt-4o").input(&question).start();
                    generation.output(&answer).usage(Usage::new(512, 128)).end();
                }
                spent += start.elapsed();
                left -= chunk;
                assert!(langfuse.flush_blocking(Duration::from_secs(60)).ok, "the sink takes everything");
            }
            spent
        });
    });
    group.bench_function("encode", |bencher| {
        let generation = generation();
        bencher.iter(|| wire::encode(black_box(generation.clone()), generation.start, None, None));
    });
    group.bench_function("queue", |bencher| {
        let generation = generation();
        let mut exporter = Exporter::new(Settings::default());
        bencher.iter_batched(
            || wire::encode(generation.clone(), generation.start, None, None),
            |record| exporter.push(record, generation.start),
            criterion::BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn question() -> Value {
    json!([{ "role": "system", "content": "You answer." }, { "role": "user", "content": "x".repeat(900) }])
}

fn generation() -> ObservationData {
    let mut attributes = Attributes::default();
    attributes.fields.set(Field::Model, "gpt-4o");
    attributes.fields.set(Field::Input, question().to_string());
    attributes.fields.set(Field::Output, "y".repeat(1000));
    attributes.fields.set(Field::UsageDetails, r#"{"input":512,"output":128}"#);
    ObservationData {
        context: SpanContext {
            trace_id: TraceId::from_random([7; 16]),
            observation_id: ObservationId::from_random([7; 8]),
        },
        parent: None,
        is_local_root: true,
        kind: ObservationKind::Generation,
        name: "answer".to_owned(),
        start: Timestamp::default() + Duration::from_secs(1_700_000_000),
        attributes,
        trace: Arc::default(),
    }
}

criterion_group!(benches, record);
criterion_main!(benches);
