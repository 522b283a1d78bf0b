//! What the troubleshooting of a program asks for.

use std::fmt;

use serde::Serialize;

use crate::client::Langfuse;
use crate::health::{Health, LastError};
use crate::process_wide::langfuse;
use crate::time::Timestamp;

/// How a client is doing. It holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Status {
    /// Whether anything is recorded.
    pub enabled: bool,
    /// Why nothing is recorded.
    pub why_disabled: Option<String>,
    /// The server; none when the client is disabled.
    pub host: Option<String>,
    /// How the public key begins; none when the client is disabled.
    pub public_key: Option<String>,
    /// Observations that have started and not ended.
    pub open: u64,
    /// Records waiting now.
    pub queued: u64,
    /// Records in flight now.
    pub in_flight: u64,
    /// Bytes of the records waiting or in flight now.
    pub bytes: u64,
    /// Records the server acknowledged since the client was made.
    pub delivered: u64,
    /// Records the server refused, or that were given up, since the client was made.
    pub lost: u64,
    /// When a flush last delivered something.
    pub last_delivery: Option<Timestamp>,
    /// What the last flush that was not all well said.
    pub last_error: Option<LastError>,
}

const KEY_LENGTH: usize = 10;

/// How the process-wide client is doing, asking nobody.
///
/// ```
/// # langfuse_edge::set_langfuse(langfuse_edge::Langfuse::disabled());
/// println!("{}", langfuse_edge::observability::status());
/// ```
#[must_use]
pub fn status() -> Status {
    status_of(&langfuse())
}

/// How a client is doing, asking nobody.
#[must_use]
pub fn status_of(langfuse: &Langfuse) -> Status {
    let stats = langfuse.stats();
    let enabled = langfuse.enabled();
    let Health { last_delivery, last_error } =
        enabled.map(|enabled| enabled.driver().health()).unwrap_or_default();
    Status {
        enabled: enabled.is_some(),
        why_disabled: langfuse.why_disabled().map(str::to_owned),
        host: enabled.map(|enabled| enabled.config().base_url().to_owned()),
        public_key: enabled.map(|enabled| beginning_of_key(enabled.config().public_key())),
        open: enabled.map_or(0, |enabled| enabled.open().count() as u64),
        queued: stats.queued,
        in_flight: stats.leased,
        bytes: stats.bytes,
        delivered: stats.delivered,
        lost: stats.rejected + stats.dropped,
        last_delivery,
        last_error,
    }
}

fn beginning_of_key(key: &str) -> String {
    let mut beginning: String = key.chars().take(KEY_LENGTH).collect();
    if beginning.len() < key.len() {
        beginning.push('…');
    }
    beginning
}

/// For people, in a few lines.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(why) = &self.why_disabled {
            return write!(f, "Langfuse: disabled: {why}");
        }
        let (host, key) = (self.host.as_deref(), self.public_key.as_deref());
        writeln!(f, "Langfuse: {} as {}", host.unwrap_or_default(), key.unwrap_or_default())?;
        let Self { open, queued, in_flight, bytes, delivered, lost, .. } = self;
        writeln!(f, "  {open} open; {queued} waiting and {in_flight} in flight, {bytes} bytes")?;
        write!(f, "  {delivered} delivered, {lost} lost; last delivery: ")?;
        match self.last_delivery {
            Some(time) => f.write_str(&time.to_iso8601())?,
            None => f.write_str("never")?,
        }
        match &self.last_error {
            Some(LastError { at, message }) => write!(f, "\n  last error, {}: {message}", at.to_iso8601()),
            None => Ok(()),
        }
    }
}
