//! Configuration: parsed once, from options or environment variables, and valid ever after.

use std::fmt;
use std::time::Duration;

use crate::error::Error;

/// What a user may set. Everything is optional; what is absent comes from [`Options::or_env`] or a default.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Options {
    /// The project's public key, `pk-lf-…`.
    pub public_key: Option<String>,
    /// The project's secret key, `sk-lf-…`.
    pub secret_key: Option<String>,
    /// The server, with its path if it has one. Default: `https://cloud.langfuse.com`.
    pub base_url: Option<String>,
    /// `false` makes every call a no-op.
    pub enabled: Option<bool>,
    /// The environment the observations belong to, such as `production`.
    pub environment: Option<String>,
    /// The release of the program.
    pub release: Option<String>,
    /// How long one attempt may take. Default: 10 s.
    pub timeout: Option<Duration>,
    /// Records that make a long-lived process send. Default: 100.
    pub flush_at: Option<u32>,
    /// How long a record waits in a long-lived process before it is sent. Default: 5 s.
    pub flush_interval: Option<Duration>,
}

impl Options {
    /// Fills what is absent from environment variables, through `lookup`.
    ///
    /// `LANGFUSE_PUBLIC_KEY`, `LANGFUSE_SECRET_KEY`, `LANGFUSE_BASE_URL` (then `LANGFUSE_BASEURL`, then
    /// `LANGFUSE_HOST`), `LANGFUSE_TRACING_ENABLED`, `LANGFUSE_TRACING_ENVIRONMENT`, `LANGFUSE_RELEASE`,
    /// `LANGFUSE_TIMEOUT`, `LANGFUSE_FLUSH_AT`, `LANGFUSE_FLUSH_INTERVAL`. An empty variable counts as absent.
    ///
    /// # Errors
    /// [`Error::is_configuration`], naming the variable, when a value cannot be read.
    pub fn or_env(self, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let var =
            |name: &str| lookup(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let seconds = |name: &'static str| {
            var(name).map(|value| parse_seconds(&value).ok_or_else(|| not_seconds(name))).transpose()
        };
        let count = |name: &'static str| {
            var(name).map(|value| value.parse::<u32>().map_err(|_| not_a_count(name))).transpose()
        };
        Ok(Self {
            public_key: self.public_key.or_else(|| var("LANGFUSE_PUBLIC_KEY")),
            secret_key: self.secret_key.or_else(|| var("LANGFUSE_SECRET_KEY")),
            base_url: self
                .base_url
                .or_else(|| var("LANGFUSE_BASE_URL"))
                .or_else(|| var("LANGFUSE_BASEURL"))
                .or_else(|| var("LANGFUSE_HOST")),
            enabled: match self.enabled {
                Some(enabled) => Some(enabled),
                None => var("LANGFUSE_TRACING_ENABLED")
                    .map(|value| parse_bool("LANGFUSE_TRACING_ENABLED", &value))
                    .transpose()?,
            },
            environment: self.environment.or_else(|| var("LANGFUSE_TRACING_ENVIRONMENT")),
            release: self.release.or_else(|| var("LANGFUSE_RELEASE")),
            timeout: match self.timeout {
                Some(timeout) => Some(timeout),
                None => seconds("LANGFUSE_TIMEOUT")?,
            },
            flush_at: match self.flush_at {
                Some(flush_at) => Some(flush_at),
                None => count("LANGFUSE_FLUSH_AT")?,
            },
            flush_interval: match self.flush_interval {
                Some(flush_interval) => Some(flush_interval),
                None => seconds("LANGFUSE_FLUSH_INTERVAL")?,
            },
        })
    }

    /// Checks everything. Absent keys are not an error: tracing is then [`Setup::Disabled`].
    ///
    /// # Errors
    /// [`Error::is_configuration`], naming the option, when a value cannot be used.
    pub fn parse(self) -> Result<Setup, Error> {
        if self.enabled == Some(false) {
            return Ok(Setup::Disabled { missing: None });
        }
        let key = |key: Option<String>| key.map(|key| key.trim().to_owned()).filter(|key| !key.is_empty());
        let (Some(public_key), Some(secret_key)) =
            (key(self.public_key.clone()), key(self.secret_key.clone()))
        else {
            let missing = match key(self.public_key) {
                None => "publicKey (LANGFUSE_PUBLIC_KEY)",
                Some(_) => "secretKey (LANGFUSE_SECRET_KEY)",
            };
            return Ok(Setup::Disabled { missing: Some(missing) });
        };
        for (name, key) in [("publicKey", &public_key), ("secretKey", &secret_key)] {
            if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(Error::configuration(format!(
                    "{name} contains a space or a character outside ASCII; copy the key again from the project's settings"
                )));
            }
        }
        if public_key.contains(':') {
            return Err(Error::configuration("publicKey must not contain a colon; it looks like pk-lf-…"));
        }
        Ok(Setup::Enabled(Box::new(Config {
            base_url: parse_base_url(self.base_url.as_deref().unwrap_or(DEFAULT_BASE_URL))?,
            public_key,
            secret_key: Secret(secret_key),
            environment: self.environment,
            release: self.release,
            timeout: within_a_day("timeout", self.timeout.unwrap_or(DEFAULT_TIMEOUT))?,
            flush_at: self.flush_at.unwrap_or(DEFAULT_FLUSH_AT).max(1),
            flush_interval: within_a_day(
                "flushInterval",
                self.flush_interval.unwrap_or(DEFAULT_FLUSH_INTERVAL),
            )?,
        })))
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

/// Whether observations are recorded at all.
#[derive(Clone, Debug)]
pub enum Setup {
    /// They are, and sent as this says.
    Enabled(Box<Config>),
    /// They are not.
    Disabled {
        /// The option that would enable them, when they were not switched off on purpose.
        missing: Option<&'static str>,
    },
}

/// A valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    base_url: String,
    public_key: String,
    secret_key: Secret,
    pub(crate) environment: Option<String>,
    pub(crate) release: Option<String>,
    pub(crate) timeout: Duration,
    flush_at: u32,
    flush_interval: Duration,
}

impl Config {
    /// Records that make a long-lived process send.
    #[must_use]
    pub fn flush_at(&self) -> u32 {
        self.flush_at
    }

    /// How long a record waits in a long-lived process before it is sent.
    #[must_use]
    pub fn flush_interval(&self) -> Duration {
        self.flush_interval
    }

    /// Where traces go.
    pub(crate) fn traces_url(&self) -> String {
        format!("{}/api/public/otel/v1/traces", self.base_url)
    }

    pub(crate) fn public_key(&self) -> &str {
        &self.public_key
    }

    pub(crate) fn secret_key(&self) -> &str {
        &self.secret_key.0
    }
}

/// A value that `Debug` does not show.
#[derive(Clone)]
struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

const DEFAULT_BASE_URL: &str = "https://cloud.langfuse.com";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_FLUSH_AT: u32 = 100;
const DEFAULT_FLUSH_INTERVAL: Duration = Duration::from_secs(5);
const A_DAY: Duration = Duration::from_secs(86_400);

/// The error never repeats the value: a URL may carry a password.
fn parse_base_url(url: &str) -> Result<String, Error> {
    let url = url.trim();
    let authority = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or("");
    let authority = authority.split('/').next().unwrap_or("");
    if authority.is_empty()
        || url.contains(['?', '#', '@'])
        || !url.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return Err(Error::configuration(
            "baseUrl (LANGFUSE_BASE_URL) must be an http or https URL without user name, query or fragment, such as https://cloud.langfuse.com",
        ));
    }
    Ok(url.strip_suffix('/').unwrap_or(url).to_owned())
}

fn within_a_day(option: &str, duration: Duration) -> Result<Duration, Error> {
    if duration.is_zero() || duration > A_DAY {
        return Err(Error::configuration(format!("{option} must be more than 0 and at most 86400 seconds")));
    }
    Ok(duration)
}

fn parse_bool(name: &str, value: &str) -> Result<bool, Error> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(Error::configuration(format!("{name} must be true or false"))),
    }
}

/// Reads `5` or `0.25`. A whole floating point parser would be a tenth of the wasm module.
fn parse_seconds(value: &str) -> Option<Duration> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, "0"));
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let millis = fraction
        .bytes()
        .chain(*b"000")
        .take(3)
        .fold(0, |millis, digit| millis * 10 + u64::from(digit - b'0'));
    Some(Duration::from_secs(whole.parse().ok()?) + Duration::from_millis(millis))
}

fn not_seconds(name: &str) -> Error {
    Error::configuration(format!("{name} must be a number of seconds, such as 5 or 0.5"))
}

fn not_a_count(name: &str) -> Error {
    Error::configuration(format!("{name} must be a whole number, such as 100"))
}
