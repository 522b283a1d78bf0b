//! What the driver needs of the platform.

use std::cell::RefCell;
use std::error::Error as _;
use std::fmt;
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::Url;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};

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

/// A time before 1970 is 1970.
impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self::default() + time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
}

/// Random bytes for ids. A thread draws them in stock, because asking the system takes longer than encoding an observation.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    thread_local! {
        static STOCK: RefCell<Stock> = const { RefCell::new(Stock { bytes: [0; STOCK_BYTES], left: 0 }) };
    }
    // When the thread ends its stock is gone.
    STOCK.try_with(|stock| stock.borrow_mut().take()).unwrap_or_else(|_| {
        let mut bytes = [0; N];
        fill_randomly(&mut bytes);
        bytes
    })
}

const STOCK_BYTES: usize = 512;

struct Stock {
    bytes: [u8; STOCK_BYTES],
    left: usize,
}

impl Stock {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        if self.left < N {
            fill_randomly(&mut self.bytes);
            self.left = STOCK_BYTES;
        }
        self.left -= N;
        let mut taken = [0; N];
        taken.copy_from_slice(&self.bytes[self.left..][..N]);
        taken
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place of the native side that reads entropy")]
fn fill_randomly(bytes: &mut [u8]) {
    if getrandom::fill(bytes).is_err() {
        // Tracing must not end a program that runs where the system has no entropy yet: unique ids will do.
        for (byte, hash) in bytes.iter_mut().zip(std::iter::repeat_with(fallback_random)) {
            *byte = hash;
        }
    }
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

/// Whether the code that asks runs because of a panic.
pub(crate) fn is_panicking() -> bool {
    std::thread::panicking()
}

pub(crate) fn warn(message: &str) {
    log::warn!("{message}");
}

/// For those who set their logger to it.
pub(crate) fn debug(message: fmt::Arguments<'_>) {
    log::debug!("{message}");
}

/// The connection to one server.
#[derive(Debug)]
pub(crate) struct Http {
    client: reqwest::Client,
    /// For each [`RecordKind`].
    endpoints: [Url; 2],
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
        let client = reqwest::Client::builder()
            .default_headers(headers(config)?)
            // A redirected POST would arrive as a GET without its body, and be answered 200.
            .redirect(reqwest::redirect::Policy::none())
            .build();
        let client = client.map_err(|error| {
            let why = error.source().map(ToString::to_string).unwrap_or_default();
            Error::configuration(format!("the HTTP client cannot be made: {error}: {why}"))
        })?;
        let endpoint = |kind: RecordKind| {
            let url = [config.base_url(), kind.path()].concat();
            Url::parse(&url).map_err(|error| Error::configuration(format!("the server's URL: {error}")))
        };
        let endpoints = [endpoint(RecordKind::Observation)?, endpoint(RecordKind::Score)?];
        let compresses = compresses(&endpoints[0])?;
        Ok(Self {
            client,
            endpoints,
            public_key: config.public_key().to_owned(),
            secret_key: config.secret_key().to_owned(),
            compresses,
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
            .post(self.endpoints[kind as usize].clone())
            .basic_auth(&self.public_key, Some(&self.secret_key))
            .header(CONTENT_TYPE, HeaderValue::from_static(kind.content_type()))
            .timeout(timeout)
            .body(body);
        if let Some(encoding) = encoding {
            request = request.header(CONTENT_ENCODING, HeaderValue::from_static(encoding));
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

/// What every request says.
fn headers(config: &Config) -> Result<HeaderMap, Error> {
    let public_key = HeaderValue::from_str(config.public_key());
    let public_key =
        public_key.map_err(|_| Error::configuration("the public key does not fit into a header"))?;
    let mut headers = HeaderMap::new();
    headers.insert("x-langfuse-public-key", public_key);
    headers.insert("x-langfuse-ingestion-version", HeaderValue::from_static("4"));
    headers.insert("x-langfuse-sdk-name", HeaderValue::from_static("langfuse-edge"));
    headers.insert("x-langfuse-sdk-version", HeaderValue::from_static(env!("CARGO_PKG_VERSION")));
    Ok(headers)
}

/// Whether bodies are compressed: as the variable says that Langfuse's own clients know too, else unless the server is on
/// this machine, where it costs more than it saves.
fn compresses(server: &Url) -> Result<bool, Error> {
    match env("LANGFUSE_OTEL_COMPRESSION").as_deref().map(str::trim_ascii) {
        Some("gzip") => Ok(true),
        Some("none") => Ok(false),
        None | Some("") => Ok(!is_loopback(server)),
        Some(_) => Err(Error::configuration("LANGFUSE_OTEL_COMPRESSION must be gzip or none")),
    }
}

fn is_loopback(server: &Url) -> bool {
    server.host_str().is_some_and(|host| {
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
