//! Configuration: parsed once, from options or environment variables, and valid ever after.

use std::fmt;
use std::time::Duration;

use crate::error::Error;
use crate::sampling::{BILLION, Sampling};

/// What a user may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Setting {
    /// The project's public key, `pk-lf-…`.
    PublicKey,
    /// The project's secret key, `sk-lf-…`.
    SecretKey,
    /// The server, with its path if it has one. Default: `https://cloud.langfuse.com`.
    BaseUrl,
    /// `false` makes every call a no-op. Default: `true`.
    Enabled,
    /// The environment the observations belong to, such as `production`.
    Environment,
    /// The release of the program.
    Release,
    /// The share of traces that is kept, from 0 to 1. Default: 1.
    SampleRate,
    /// Seconds one attempt to send may take. Default: 10.
    Timeout,
    /// Records that make a long-lived process send. Default: 100.
    FlushAt,
    /// Seconds a record waits in a long-lived process before it is sent; 0 for as long as it takes to be
    /// [`FlushAt`](Self::FlushAt) records. Default: 5.
    FlushInterval,
    /// What becomes of records that may have arrived, as after a time-out: `retry` sends them again, with the same ids and
    /// start times, which Langfuse merges; `give_up` drops them. Default: `retry`.
    Ambiguous,
}

/// The variables in which builds keep the program's revision, as Langfuse's Python client knows them.
const REVISION: [&str; 10] = [
    "RENDER_GIT_COMMIT",
    "CI_COMMIT_SHA",
    "CIRCLE_SHA1",
    "SOURCE_VERSION",
    "TRAVIS_COMMIT",
    "GIT_COMMIT",
    "GITHUB_SHA",
    "BITBUCKET_COMMIT",
    "BUILD_SOURCEVERSION",
    "DRONE_COMMIT_SHA",
];

impl Setting {
    /// Every setting with the name of its option and its environment variables, the first one first.
    pub(crate) const ALL: [(Self, &'static str, &'static [&'static str]); 11] = [
        (Self::PublicKey, "publicKey", &["LANGFUSE_PUBLIC_KEY"]),
        (Self::SecretKey, "secretKey", &["LANGFUSE_SECRET_KEY"]),
        (Self::BaseUrl, "baseUrl", &["LANGFUSE_BASE_URL", "LANGFUSE_BASEURL", "LANGFUSE_HOST"]),
        (Self::Enabled, "enabled", &["LANGFUSE_TRACING_ENABLED"]),
        (Self::Environment, "environment", &["LANGFUSE_TRACING_ENVIRONMENT"]),
        (Self::Release, "release", &["LANGFUSE_RELEASE"]),
        (Self::SampleRate, "sampleRate", &["LANGFUSE_SAMPLE_RATE"]),
        (Self::Timeout, "timeout", &["LANGFUSE_TIMEOUT"]),
        (Self::FlushAt, "flushAt", &["LANGFUSE_FLUSH_AT"]),
        (Self::FlushInterval, "flushInterval", &["LANGFUSE_FLUSH_INTERVAL"]),
        (Self::Ambiguous, "ambiguous", &["LANGFUSE_AMBIGUOUS"]),
    ];

    /// Every setting.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::ALL.iter().map(|(setting, ..)| *setting)
    }

    /// Its environment variables, of which the first one that is set counts.
    #[must_use]
    pub fn variables(self) -> &'static [&'static str] {
        Self::ALL[self as usize].2
    }

    fn error(self, what: &str) -> Error {
        let (_, option, variables) = Self::ALL[self as usize];
        Error::configuration([option, " (", variables[0], ") must be ", what].concat())
    }
}

/// Settings as text, the form they have in an environment; [`Options::parse`] checks them.
#[derive(Clone, Default)]
pub struct Options(Vec<(Setting, String)>);

impl Options {
    /// Sets a setting. White space around it does not count, and an empty text is as good as none.
    #[must_use]
    pub fn with(mut self, setting: Setting, value: impl Into<String>) -> Self {
        self.set(setting, value.into());
        self
    }

    pub(crate) fn set(&mut self, setting: Setting, value: String) {
        match self.0.iter_mut().find(|(known, _)| *known == setting) {
            Some((_, known)) => *known = value,
            None => self.0.push((setting, value)),
        }
    }

    /// The project's keys.
    #[must_use]
    pub fn keys(self, public_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        self.with(Setting::PublicKey, public_key).with(Setting::SecretKey, secret_key)
    }

    /// The server.
    #[must_use]
    pub fn base_url(self, base_url: impl Into<String>) -> Self {
        self.with(Setting::BaseUrl, base_url)
    }

    /// `false` makes every call a no-op.
    #[must_use]
    pub fn enabled(self, enabled: bool) -> Self {
        self.with(Setting::Enabled, if enabled { "true" } else { "false" })
    }

    /// The environment the observations belong to, such as `production`.
    #[must_use]
    pub fn environment(self, environment: impl Into<String>) -> Self {
        self.with(Setting::Environment, environment)
    }

    /// The release of the program.
    #[must_use]
    pub fn release(self, release: impl Into<String>) -> Self {
        self.with(Setting::Release, release)
    }

    /// The share of traces that is kept, from 0 to 1.
    #[must_use]
    pub fn sample_rate(self, share: f64) -> Self {
        self.with(Setting::SampleRate, share.to_string())
    }

    /// How long one attempt to send may take.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(Setting::Timeout, timeout.as_secs_f64().to_string())
    }

    /// How many records make a long-lived process send.
    #[must_use]
    pub fn flush_at(self, records: u32) -> Self {
        self.with(Setting::FlushAt, records.to_string())
    }

    /// How long a record waits in a long-lived process before it is sent; zero for as long as it takes to be
    /// [`flush_at`](Self::flush_at) records.
    #[must_use]
    pub fn flush_interval(self, interval: Duration) -> Self {
        self.with(Setting::FlushInterval, interval.as_secs_f64().to_string())
    }

    /// Fills what is absent from environment variables, through `lookup`.
    ///
    /// `LANGFUSE_PUBLIC_KEY`, `LANGFUSE_SECRET_KEY`, `LANGFUSE_BASE_URL` (then `LANGFUSE_BASEURL`, then
    /// `LANGFUSE_HOST`), `LANGFUSE_TRACING_ENABLED`, `LANGFUSE_TRACING_ENVIRONMENT`, `LANGFUSE_RELEASE` (then the variable
    /// in which Render, GitLab, CircleCI, Heroku, Travis, Jenkins, GitHub, Bitbucket, Azure or Drone keeps the commit),
    /// `LANGFUSE_SAMPLE_RATE`, `LANGFUSE_TIMEOUT`, `LANGFUSE_FLUSH_AT`, `LANGFUSE_FLUSH_INTERVAL`, `LANGFUSE_AMBIGUOUS`.
    ///
    /// What the client says natively goes through `log`, as `langfuse_edge`: warnings, and at level debug a line for each flush.
    #[must_use]
    pub fn or_env(self, lookup: &dyn Fn(&'static str) -> Option<String>) -> Self {
        let mut options = self.or_variables(lookup);
        options.fill(Setting::Release, &REVISION, lookup);
        options
    }

    /// As [`or_env`](Self::or_env), without the variables of builds: where there is a process, the JavaScript layer knows
    /// them.
    pub(crate) fn or_variables(mut self, lookup: &dyn Fn(&'static str) -> Option<String>) -> Self {
        for &(setting, _, variables) in &Setting::ALL {
            self.fill(setting, variables, lookup);
        }
        self
    }

    fn fill(
        &mut self,
        setting: Setting,
        variables: &[&'static str],
        lookup: &dyn Fn(&'static str) -> Option<String>,
    ) {
        if self.get(setting).is_none() {
            let from_env = |name: &&'static str| lookup(name).filter(|value| !value.trim_ascii().is_empty());
            if let Some(value) = variables.iter().find_map(from_env) {
                self.set(setting, value);
            }
        }
    }

    /// Checks everything. Absent keys are not an error: tracing is then [`Setup::Disabled`].
    ///
    /// # Errors
    /// [`Error::is_configuration`], naming the option and its variable, when a value cannot be used.
    pub fn parse(&self) -> Result<Setup, Error> {
        if !self.flag(Setting::Enabled, true)? {
            return Ok(Setup::Disabled { missing: None });
        }
        let Some(public_key) = self.key(Setting::PublicKey)? else {
            return Ok(Setup::Disabled { missing: Some("publicKey (LANGFUSE_PUBLIC_KEY)") });
        };
        let Some(secret_key) = self.key(Setting::SecretKey)? else {
            return Ok(Setup::Disabled { missing: Some("secretKey (LANGFUSE_SECRET_KEY)") });
        };
        let base_url = self.base_url_without_slash()?;
        let sampling = self.sampling()?;
        let timeout = self.seconds(Setting::Timeout, DEFAULT_TIMEOUT)?;
        let flush_at = self.count(Setting::FlushAt, DEFAULT_FLUSH_AT)?;
        let flush_interval = self.seconds(Setting::FlushInterval, DEFAULT_FLUSH_INTERVAL)?;
        let gives_up_ambiguous = match self.get(Setting::Ambiguous) {
            None | Some("retry") => false,
            Some("give_up") => true,
            Some(_) => return Err(Setting::Ambiguous.error("retry or give_up")),
        };
        Ok(Setup::Enabled(Box::new(Config {
            base_url: base_url.to_owned(),
            public_key: public_key.to_owned(),
            secret_key: Secret(secret_key.to_owned()),
            environment: self.get(Setting::Environment).map(str::to_owned),
            release: self.get(Setting::Release).map(str::to_owned),
            sampling,
            timeout,
            flush_at,
            flush_interval,
            gives_up_ambiguous,
        })))
    }

    /// What was set, as environment variables.
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(setting, value)| (Setting::ALL[*setting as usize].2[0], value.as_str()))
    }

    fn get(&self, setting: Setting) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| *known == setting)?;
        Some(value.trim_ascii()).filter(|value| !value.is_empty())
    }

    /// A key goes into a header, with a colon behind the public one.
    fn key(&self, setting: Setting) -> Result<Option<&str>, Error> {
        let key = self.get(setting);
        if key.is_some_and(|key| !key.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':')) {
            return Err(setting.error("copied again from the project's settings: it has a space, a colon or a character outside ASCII"));
        }
        Ok(key)
    }

    /// The error never repeats the value: a URL may carry a password.
    fn base_url_without_slash(&self) -> Result<&str, Error> {
        let url = self.get(Setting::BaseUrl).unwrap_or(DEFAULT_BASE_URL);
        let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'@');
        if host.is_empty() || host.starts_with('/') || !url.bytes().all(is_plain) {
            return Err(Setting::BaseUrl.error("an http or https URL without user name, query or fragment, such as https://cloud.langfuse.com"));
        }
        Ok(url.strip_suffix('/').unwrap_or(url))
    }

    fn flag(&self, setting: Setting, default: bool) -> Result<bool, Error> {
        match self.get(setting) {
            None => Ok(default),
            Some("true" | "True" | "TRUE" | "1") => Ok(true),
            Some("false" | "False" | "FALSE" | "0") => Ok(false),
            Some(_) => Err(setting.error("true or false")),
        }
    }

    fn count(&self, setting: Setting, default: u32) -> Result<u32, Error> {
        let count = self.get(setting).map_or(Some(default), |count| count.parse().ok());
        count.filter(|count| *count > 0).ok_or_else(|| setting.error("a whole number above 0, such as 100"))
    }

    fn sampling(&self) -> Result<Sampling, Error> {
        let kept = self.get(Setting::SampleRate).map_or(Some(BILLION), parse_billionths);
        let kept = kept.filter(|kept| *kept <= BILLION);
        kept.map(Sampling::from_billionths)
            .ok_or_else(|| Setting::SampleRate.error("a number from 0 to 1, such as 0.5"))
    }

    fn seconds(&self, setting: Setting, default: Duration) -> Result<Duration, Error> {
        let seconds = self.get(setting).map_or(Some(default), |text| {
            parse_billionths(text).map(|billionths| Duration::from_millis(billionths / 1_000_000))
        });
        let may_be_zero = setting == Setting::FlushInterval;
        seconds.filter(|seconds| (may_be_zero || !seconds.is_zero()) && *seconds <= A_DAY).ok_or_else(|| {
            setting.error(if may_be_zero {
                "0 or seconds up to 86400, such as 5 or 0.5"
            } else {
                "seconds above 0 and at most 86400, such as 5 or 0.5"
            })
        })
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(setting, _)| setting)).finish()
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
    environment: Option<String>,
    release: Option<String>,
    sampling: Sampling,
    timeout: Duration,
    flush_at: u32,
    flush_interval: Duration,
    gives_up_ambiguous: bool,
}

impl Config {
    /// The server, without a slash at the end.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The environment the observations belong to.
    #[must_use]
    pub fn environment(&self) -> Option<&str> {
        self.environment.as_deref()
    }

    /// The release of the program.
    #[must_use]
    pub fn release(&self) -> Option<&str> {
        self.release.as_deref()
    }

    /// Which traces are kept.
    #[must_use]
    pub fn sampling(&self) -> Sampling {
        self.sampling
    }

    /// How long one attempt to send may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Records that make a long-lived process send.
    #[must_use]
    pub fn flush_at(&self) -> u32 {
        self.flush_at
    }

    /// How long a record waits in a long-lived process before it is sent; zero when that alone is no reason.
    #[must_use]
    pub fn flush_interval(&self) -> Duration {
        self.flush_interval
    }

    /// Whether records that may have arrived are dropped instead of sent again.
    #[must_use]
    pub fn gives_up_ambiguous(&self) -> bool {
        self.gives_up_ambiguous
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

/// Reads `5` or `0.25`, in billionths. A whole floating point parser would be a tenth of the wasm module.
fn parse_billionths(text: &str) -> Option<u64> {
    let mut billionths = 0_u64;
    let mut unit = BILLION;
    for byte in text.bytes() {
        match (byte, unit) {
            (b'.', BILLION) => unit = BILLION / 10,
            (b'0'..=b'9', BILLION) => {
                let digit = u64::from(byte - b'0') * BILLION;
                billionths = billionths.checked_mul(10)?.checked_add(digit)?;
            }
            (b'0'..=b'9', _) => {
                billionths += u64::from(byte - b'0') * unit;
                unit /= 10;
            }
            _ => return None,
        }
    }
    Some(billionths)
}
