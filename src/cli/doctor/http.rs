//! Questions to a server, beside what the client sends.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, DATE, LOCATION};
use serde_json::Value;
use tokio::time::Instant;

use crate::dev::now_ms;

pub(super) struct Keys {
    pub(super) public: String,
    pub(super) secret: String,
}

pub(super) struct Http {
    client: reqwest::Client,
    pub(super) base_url: String,
}

pub(super) struct Answer {
    pub(super) status: u16,
    /// Null when it is no JSON.
    pub(super) body: Value,
    pub(super) location: Option<String>,
    /// How many milliseconds the server's clock is ahead, to the second.
    pub(super) clock_ahead: Option<i64>,
    pub(super) elapsed: Duration,
}

pub(super) struct Failure {
    pub(super) is_connect: bool,
    pub(super) words: String,
}

impl Http {
    pub(super) fn new(base_url: &str, timeout: Duration) -> Result<Self, String> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            // A little less, so that a handshake that hangs is told from an answer that does not come.
            .connect_timeout(timeout * 9 / 10)
            .timeout(timeout)
            .build();
        let client = client.map_err(|error| format!("the HTTP client cannot be made: {}", words(&error)))?;
        Ok(Self { client, base_url: base_url.to_owned() })
    }

    pub(super) async fn get(&self, path: &str, keys: Option<&Keys>) -> Result<Answer, Failure> {
        self.get_from(&self.base_url, path, keys).await
    }

    pub(super) async fn get_from(
        &self,
        base_url: &str,
        path: &str,
        keys: Option<&Keys>,
    ) -> Result<Answer, Failure> {
        let mut request = self.client.get(format!("{base_url}/api/public/{path}"));
        if let Some(Keys { public, secret }) = keys {
            request = request.basic_auth(public, Some(secret));
        }
        let start = Instant::now();
        let response = request.send().await.map_err(|error| Failure::of(&error))?;
        let elapsed = start.elapsed();
        let header = |name| response.headers().get(name)?.to_str().ok().map(str::to_owned);
        let clock_ahead = header(DATE).and_then(|date| ahead(&date, elapsed));
        let location = header(LOCATION);
        let status = response.status().as_u16();
        let text = response.text().await.map_err(|error| Failure::of(&error))?;
        let body = serde_json::from_str(&text).unwrap_or_default();
        Ok(Answer { status, body, location, clock_ahead, elapsed })
    }

    /// The status of the answer.
    pub(super) async fn post(&self, path: &str, keys: &Keys, body: &'static str) -> Result<u16, Failure> {
        let Keys { public, secret } = keys;
        let request = self.client.post(format!("{}/api/public/{path}", self.base_url));
        let request = request.basic_auth(public, Some(secret)).header(CONTENT_TYPE, "application/json");
        let response = request.body(body).send().await;
        response.map(|response| response.status().as_u16()).map_err(|error| Failure::of(&error))
    }
}

impl Failure {
    fn of(error: &reqwest::Error) -> Self {
        Self { is_connect: error.is_connect(), words: words(error) }
    }
}

/// The innermost reason, which says what has happened; the others name what was attempted, with the URL.
fn words(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it took too long".to_owned();
    }
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// The date is of when half of the time was over, and has no milliseconds.
fn ahead(date: &str, elapsed: Duration) -> Option<i64> {
    let date = httpdate::parse_http_date(date).ok()?;
    let since_epoch = date.duration_since(std::time::SystemTime::UNIX_EPOCH).ok()?;
    let half = i64::try_from(elapsed.as_millis()).ok()? / 2;
    let here = now_ms() - half;
    Some(i64::try_from(since_epoch.as_millis()).ok()? + 500 - here)
}
