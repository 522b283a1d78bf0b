//! One line per POST on a write route.

use std::collections::VecDeque;

use axum::http::{HeaderMap, header};
use serde::Serialize;
use tokio::time::Instant;

use super::text::langfuse_header;

const MAX_ENTRIES: usize = 10_000;
const MAX_ID_BYTES: usize = 64 << 20;

/// The two routes that take data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Route {
    Traces,
    Ingestion,
}

/// The ids a body names, whatever becomes of the request.
#[derive(Default, Clone)]
pub(super) struct Ids {
    pub(super) observations: Vec<String>,
    pub(super) scores: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Answer {
    Status(u16),
    Word(&'static str),
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    n: u64,
    at_ms: u64,
    route: Route,
    /// `null` while the answer is being delayed
    status: Option<Answer>,
    bytes: usize,
    encoding: Option<String>,
    content_type: Option<String>,
    sdk_name: Option<String>,
    observation_ids: Vec<String>,
    score_ids: Vec<String>,
}

pub(super) struct RequestLog {
    since: Instant,
    posts: u64,
    entries: VecDeque<Entry>,
    id_bytes: usize,
}

impl Entry {
    fn id_bytes(&self) -> usize {
        self.observation_ids.iter().chain(&self.score_ids).map(|id| id.len() + 32).sum()
    }
}

impl RequestLog {
    pub(super) fn new(since: Instant) -> Self {
        Self { since, posts: 0, entries: VecDeque::new(), id_bytes: 0 }
    }

    pub(super) fn posts(&self) -> u64 {
        self.posts
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.entries.iter().cloned().collect()
    }

    /// Enters a request whose body has been read, and returns its number for `answered`.
    pub(super) fn enter(&mut self, route: Route, headers: &HeaderMap, bytes: usize, ids: Ids) -> u64 {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        self.posts += 1;
        let entry = Entry {
            n: self.posts,
            at_ms: u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX),
            route,
            status: None,
            bytes,
            encoding: header(header::CONTENT_ENCODING),
            content_type: header(header::CONTENT_TYPE),
            sdk_name: langfuse_header(headers, "x-langfuse-sdk-name").map(str::to_owned),
            observation_ids: ids.observations,
            score_ids: ids.scores,
        };
        self.id_bytes += entry.id_bytes();
        self.entries.push_back(entry);
        while self.entries.len() > MAX_ENTRIES || self.id_bytes > MAX_ID_BYTES {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.id_bytes -= oldest.id_bytes();
        }
        self.posts
    }

    pub(super) fn answered(&mut self, n: u64, answer: Answer) {
        if let Some(entry) = self.entries.iter_mut().rev().find(|entry| entry.n == n) {
            entry.status = Some(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_forgets_the_oldest_requests() {
        let mut log = RequestLog::new(Instant::now());
        for _ in 0..=MAX_ENTRIES {
            log.enter(Route::Traces, &HeaderMap::new(), 1, Ids::default());
        }
        assert_eq!((log.entries.len(), log.entries[0].n), (MAX_ENTRIES, 2));
        let scores = vec!["x".repeat(MAX_ID_BYTES / 2)];
        for _ in 0..2 {
            let ids = Ids { scores: scores.clone(), ..Ids::default() };
            log.enter(Route::Ingestion, &HeaderMap::new(), 1, ids);
        }
        assert_eq!((log.entries.len(), log.posts()), (1, MAX_ENTRIES as u64 + 3));
    }
}
