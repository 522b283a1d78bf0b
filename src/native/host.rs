//! What the driver needs of the platform.

use std::error::Error as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::header::RETRY_AFTER;

use super::parse_verdicts;
use crate::config::Config;
use crate::error::Error;
use crate::exporter::Request;
use crate::retry::{Outcome, parse_retry_after};
use crate::time::Timestamp;
use crate::wire::RecordKind;

/// Wall-clock time that a change of the system's clock does not move.
#[expect(clippy::disallowed_methods, reason = "the one place of the native side that reads a clock")]
pub(crate) fn now() -> Timestamp {
    static START: LazyLock<(Timestamp, Instant)> = LazyLock::new(|| {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        (Timestamp::default() + since_epoch, Instant::now())
    });
    START.0 + START.1.elapsed()
}

/// Random bytes for ids.
#[expect(clippy::disallowed_methods, reason = "the one place of the native side that reads entropy")]
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if getrandom::fill(&mut bytes).is_err() {
        // Tracing must not end a program that runs where the system has no entropy yet: unique ids will do.
        for (byte, hash) in bytes.iter_mut().zip(std::iter::repeat_with(fallback_random)) {
            *byte = hash;
        }
    }
    bytes
}

/// A byte of the standard library's hash keys, which are random per thread and counted up per use.
fn fallback_random() -> u8 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0_u8) as u8
}

pub(crate) async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// The form Langfuse reads for times in JSON.
pub(crate) fn iso8601(time: Timestamp) -> String {
    time.to_iso8601()
}

pub(crate) fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

pub(crate) fn warn(message: &str) {
    log::warn!("{message}");
}

/// The connection to one server.
#[derive(Debug)]
pub(crate) struct Http {
    client: reqwest::Client,
    base_url: String,
    public_key: String,
    secret_key: String,
    compresses: bool,
}

/// The words of a refusal are kept up to this; a longer answer is not read to its end.
const LONGEST_MESSAGE: usize = 4096;
/// Verdicts on a whole batch, with room for words.
const LONGEST_VERDICTS: usize = 4 * 1024 * 1024;
/// A smaller body fits into one packet as it is.
const SMALLEST_COMPRESSED: usize = 1024;

impl Http {
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        // A redirected POST would arrive as a GET without its body, and be answered 200.
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
        let client = client.map_err(|error| {
            let why = error.source().map(ToString::to_string).unwrap_or_default();
            Error::configuration(format!("the HTTP client cannot be made: {error}: {why}"))
        })?;
        Ok(Self {
            client,
            base_url: config.base_url().to_owned(),
            public_key: config.public_key().to_owned(),
            secret_key: config.secret_key().to_owned(),
            compresses: compresses(config.base_url())?,
        })
    }

    pub(crate) async fn post(&self, Request { kind, body, timeout, .. }: Request) -> Outcome {
        let (body, encoding) = match kind {
            RecordKind::Observation if self.compresses && body.len() >= SMALLEST_COMPRESSED => gzip(body),
            // The endpoint of scores takes plain JSON only.
            _ => (body, None),
        };
        let mut request = self
            .client
            .post([&self.base_url, kind.path()].concat())
            .basic_auth(&self.public_key, Some(&self.secret_key))
            .header("content-type", kind.content_type())
            .header("x-langfuse-ingestion-version", "4")
            .header("x-langfuse-sdk-name", "langfuse-edge")
            .header("x-langfuse-sdk-version", env!("CARGO_PKG_VERSION"))
            .header("x-langfuse-public-key", &self.public_key)
            .timeout(timeout)
            .body(body);
        if let Some(encoding) = encoding {
            request = request.header("content-encoding", encoding);
        }
        match request.send().await {
            Ok(response) => {
                let status = response.status().as_u16();
                let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
                let retry_after = retry_after.and_then(|value| parse_retry_after(value, until));
                let longest = if status == 207 { LONGEST_VERDICTS } else { LONGEST_MESSAGE };
                let message = read_text(response, longest).await;
                let verdicts = if status == 207 { parse_verdicts(&message) } else { Vec::new() };
                Outcome::Response { status, retry_after, message, verdicts }
            }
            Err(error) => Outcome::Failed { ambiguous: !error.is_connect() && !error.is_builder() },
        }
    }
}

/// Whether bodies are compressed: as the variable says that Langfuse's own clients know too, else unless the server is on
/// this machine, where it costs more than it saves.
fn compresses(base_url: &str) -> Result<bool, Error> {
    match env("LANGFUSE_OTEL_COMPRESSION").as_deref().map(str::trim_ascii) {
        Some("gzip") => Ok(true),
        Some("none") => Ok(false),
        None | Some("") => Ok(!is_loopback(base_url)),
        Some(_) => Err(Error::configuration("LANGFUSE_OTEL_COMPRESSION must be gzip or none")),
    }
}

fn is_loopback(base_url: &str) -> bool {
    let url = reqwest::Url::parse(base_url).ok();
    url.as_ref().and_then(reqwest::Url::host_str).is_some_and(|host| {
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    })
}

/// The body as it is, should it not become smaller.
fn gzip(body: Vec<u8>) -> (Vec<u8>, Option<&'static str>) {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    match encoder.write_all(&body).and_then(|()| encoder.finish()) {
        Ok(smaller) if smaller.len() < body.len() => (smaller, Some("gzip")),
        _ => (body, None),
    }
}

/// How far off an HTTP date is.
#[expect(
    clippy::disallowed_methods,
    reason = "a server's date is compared with the system's clock as it is now"
)]
fn until(date: &str) -> Option<Duration> {
    let date = httpdate::parse_http_date(date).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

async fn read_text(mut response: reqwest::Response, longest: usize) -> String {
    let mut text = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        text.extend_from_slice(&chunk);
        if text.len() >= longest {
            break;
        }
    }
    text.truncate(longest);
    String::from_utf8_lossy(&text).into_owned()
}
