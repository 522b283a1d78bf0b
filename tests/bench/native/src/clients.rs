//! The clients, each as its own documentation uses it, with its defaults.

use std::time::Duration;

use langfuse_client_base::models::{
    CreateGenerationBody, CreateGenerationEvent1, IngestionEvent, UsageDetails, create_generation_event_1,
};
use langfuse_edge::{Langfuse, ObservationKind, Options, Usage};
use langfuse_ergonomic::{Batcher, ClientBuilder};
use nix::time::{ClockId, clock_gettime};
use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
use opentelemetry_langfuse::ExporterBuilder;
use opentelemetry_sdk::runtime::Tokio;
use opentelemetry_sdk::trace::SdkTracerProvider;
use opentelemetry_sdk::trace::span_processor_with_async_runtime::BatchSpanProcessor;
use serde_json::{Value, json};
use tokio::time::{Interval, MissedTickBehavior, interval};
use uuid::Uuid;

use crate::Result;

pub(crate) const EDGE: &str = "langfuse-edge";
pub(crate) const OPENTELEMETRY: &str = "opentelemetry-otlp + -langfuse";
pub(crate) const ERGONOMIC: &str = "langfuse-ergonomic";
pub(crate) const NOTHING: &str = "(nothing, at the same rate)";

const PUBLIC_KEY: &str = "pk-lf-dev";
const SECRET_KEY: &str = "sk-lf-dev";
const MODEL: &str = "gpt-4o";

/// Records, and prints the microseconds of CPU time that it took.
#[tokio::main]
pub(crate) async fn run(client: &str, url: &str, count: u64, rate: u64) -> Result<()> {
    let pace = Pace::new(rate);
    let micros = match client {
        EDGE => edge(url, count, pace).await?,
        OPENTELEMETRY => opentelemetry(url, count, pace).await?,
        ERGONOMIC => ergonomic(url, count, pace).await?,
        NOTHING => nothing(count, pace).await?,
        _ => return Err(format!("no client is called {client}").into()),
    };
    println!("{micros}");
    Ok(())
}

async fn edge(url: &str, count: u64, mut pace: Pace) -> Result<i64> {
    let langfuse = Langfuse::new(&Options::default().keys(PUBLIC_KEY, SECRET_KEY).base_url(url))?;
    let (question, answer) = payload();
    let start = cpu_micros()?;
    for number in 0..count {
        let generation = langfuse.observe("answer").kind(ObservationKind::Generation).model(MODEL);
        let generation = generation.user_id("user-1").input(&question).start();
        generation.output(&answer).usage(Usage::new(512, 128)).end();
        pace.keep(number).await;
    }
    langfuse.flush().await;
    Ok(cpu_micros()? - start)
}

async fn opentelemetry(url: &str, count: u64, mut pace: Pace) -> Result<i64> {
    let exporter = ExporterBuilder::new().with_host(url).with_basic_auth(PUBLIC_KEY, SECRET_KEY).build()?;
    let processor = BatchSpanProcessor::builder(exporter, Tokio).build();
    let provider = SdkTracerProvider::builder().with_span_processor(processor).build();
    let tracer = provider.tracer("bench");
    let (question, answer) = payload();
    let start = cpu_micros()?;
    for number in 0..count {
        let attributes = [
            KeyValue::new("langfuse.observation.type", "generation"),
            KeyValue::new("langfuse.observation.model.name", MODEL),
            KeyValue::new("langfuse.observation.input", question.to_string()),
            KeyValue::new("user.id", "user-1"),
        ];
        let mut span = tracer.span_builder("answer").with_attributes(attributes).start(&tracer);
        span.set_attribute(KeyValue::new("langfuse.observation.output", answer.clone()));
        let usage = json!({ "input": 512, "output": 128 });
        span.set_attribute(KeyValue::new("langfuse.observation.usage_details", usage.to_string()));
        span.end();
        pace.keep(number).await;
    }
    // What it could not deliver is what is measured.
    drop(tokio::task::spawn_blocking(move || provider.shutdown()).await?);
    Ok(cpu_micros()? - start)
}

async fn ergonomic(url: &str, count: u64, mut pace: Pace) -> Result<i64> {
    let client = ClientBuilder::new().public_key(PUBLIC_KEY).secret_key(SECRET_KEY).base_url(url).build()?;
    let batcher = Batcher::builder().client(client).build().await;
    let (question, answer) = payload();
    let start = cpu_micros()?;
    for number in 0..count {
        let begin = chrono::Utc::now().fixed_offset();
        let usage = [("input".to_owned(), 512), ("output".to_owned(), 128)].into();
        let end = chrono::Utc::now().fixed_offset();
        let body = CreateGenerationBody {
            id: Some(Some(Uuid::new_v4().to_string())),
            trace_id: Some(Some(Uuid::new_v4().to_string())),
            name: Some(Some("answer".to_owned())),
            model: Some(Some(MODEL.to_owned())),
            start_time: Some(Some(begin)),
            end_time: Some(Some(end)),
            input: Some(Some(question.clone())),
            output: Some(Some(answer.clone().into())),
            usage_details: Some(Box::new(UsageDetails::Object(usage))),
            ..CreateGenerationBody::default()
        };
        let event = CreateGenerationEvent1::new(
            Uuid::new_v4().to_string(),
            end.to_rfc3339(),
            body,
            create_generation_event_1::Type::GenerationCreate,
        );
        batcher.add(IngestionEvent::CreateGenerationEvent1(Box::new(event))).await?;
        pace.keep(number).await;
    }
    drop(batcher.shutdown().await);
    Ok(cpu_micros()? - start)
}

/// What the rate alone costs.
async fn nothing(count: u64, mut pace: Pace) -> Result<i64> {
    let start = cpu_micros()?;
    for number in 0..count {
        pace.keep(number).await;
    }
    Ok(cpu_micros()? - start)
}

/// 2 kB.
fn payload() -> (Value, String) {
    let question = json!([
        { "role": "system", "content": "You answer." },
        { "role": "user", "content": "x".repeat(900) }
    ]);
    (question, "y".repeat(1000))
}

/// Of this process, all threads and what the kernel does for it.
fn cpu_micros() -> Result<i64> {
    let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?;
    Ok(time.tv_sec() * 1_000_000 + time.tv_nsec() / 1000)
}

/// So many observations a second, in groups, as requests to a service come; 0 for as fast as they can be recorded.
struct Pace {
    groups: Option<Interval>,
    group: u64,
}

impl Pace {
    const GROUPS_A_SECOND: u64 = 50;

    fn new(rate: u64) -> Self {
        let groups = (rate > 0).then(|| {
            let mut groups = interval(Duration::from_secs(1) / Self::GROUPS_A_SECOND as u32);
            groups.set_missed_tick_behavior(MissedTickBehavior::Delay);
            groups
        });
        Self { groups, group: (rate / Self::GROUPS_A_SECOND).max(1) }
    }

    async fn keep(&mut self, number: u64) {
        if let Some(groups) = &mut self.groups
            && number % self.group == 0
        {
            groups.tick().await;
        }
    }
}
