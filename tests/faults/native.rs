//! The native client of the fault matrix: answers the commands of `commands.mjs`, one JSON line each, at the same time.

use std::io::{Write as _, stdin, stdout};
use std::sync::Arc;
use std::time::Duration;

use langfuse_edge::config::Setting;
use langfuse_edge::{Langfuse, ObservationKind, Options, ScoreTarget, Usage};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ClientOptions {
    public_key: String,
    secret_key: String,
    base_url: String,
    flush_at: Option<u32>,
}

#[derive(Deserialize)]
struct Line {
    n: u64,
    command: Command,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    record: Option<Recording>,
    flush: Option<Flush>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recording {
    count: usize,
    bytes: Option<usize>,
    odd: Option<Odd>,
    #[serde(default)]
    scores: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Odd {
    at: usize,
    bytes: Option<usize>,
    metadata_bytes: Option<usize>,
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Flush {
    timeout_ms: Option<u64>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = std::env::args().nth(1).ok_or("the client's options, as JSON, are missing")?;
    let langfuse = Arc::new(client(&serde_json::from_str(&options)?)?);
    let runtime = tokio::runtime::Runtime::new()?;
    for line in stdin().lines() {
        let Line { n, command } = serde_json::from_str(&line?)?;
        let langfuse = Arc::clone(&langfuse);
        runtime.spawn(async move {
            let answer = json!({ "n": n, "answer": answer(&langfuse, command).await });
            // Nobody reading on is no reason to fail.
            let _ = writeln!(stdout().lock(), "{answer}");
        });
    }
    Ok(())
}

fn client(options: &ClientOptions) -> Result<Langfuse, langfuse_edge::Error> {
    let flush_at = options.flush_at.map(|count| count.to_string()).unwrap_or_default();
    let keys = Options::default().keys(&options.public_key, &options.secret_key);
    Langfuse::new(&keys.base_url(&options.base_url).with(Setting::FlushAt, flush_at))
}

async fn answer(langfuse: &Langfuse, command: Command) -> Value {
    let ids = command.record.map(|recording| record(langfuse, &recording)).unwrap_or_default();
    let report = match command.flush {
        Some(Flush { timeout_ms: Some(ms) }) => Some(langfuse.flush_within(Duration::from_millis(ms)).await),
        Some(Flush { timeout_ms: None }) => Some(langfuse.flush().await),
        None => None,
    };
    json!({ "ids": ids, "report": report })
}

fn record(langfuse: &Langfuse, recording: &Recording) -> Vec<String> {
    let ids = (0..recording.count).map(|index| {
        let odd = recording.odd.as_ref().filter(|odd| odd.at == index);
        let name = odd.and_then(|odd| odd.name.as_deref()).unwrap_or("event");
        let bytes = odd.and_then(|odd| odd.bytes).or(recording.bytes).unwrap_or(10);
        let observation = langfuse.observe(name).kind(ObservationKind::Generation).model("gpt-4o").start();
        observation.input(&payload(bytes, index)).usage(Usage::new(512, 128));
        if let Some(bytes) = odd.and_then(|odd| odd.metadata_bytes) {
            observation.metadata("large", &payload(bytes, index));
        }
        observation.end();
        observation.id().to_hex()
    });
    let ids = ids.collect();
    for id in &recording.scores {
        langfuse.score(ScoreTarget::Session("faults".to_owned()), id, 1).id(id).create();
    }
    ids
}

/// Text that does not compress.
fn payload(bytes: usize, seed: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut state = u32::try_from(seed).unwrap_or_default();
    let next = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(ALPHABET[(state >> 26) as usize])
    });
    next.take(bytes).collect()
}
