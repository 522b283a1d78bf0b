//! Everything that was accepted, in memory, newest kept.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde::Serialize;

use super::row::Row;
use super::score::Score;

const MAX_ROWS: usize = 200_000;
const MAX_SCORES: usize = 200_000;
const MAX_TEXT_BYTES: usize = 512 << 20;

#[derive(Default)]
pub(super) struct Store {
    rows: VecDeque<Row>,
    row_bytes: usize,
    arrivals: u64,
    scores: BTreeMap<u64, Score>,
    score_places: HashMap<(i64, String, String), u64>,
    score_bytes: usize,
    poisoned: u64,
    rejected: u64,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Counts {
    /// Distinct observations
    pub(super) observations: usize,
    pub(super) rows: usize,
    /// Rows beyond the first of an observation
    pub(super) duplicates: usize,
    /// Those whose start time is not the one of the first row: they never merge
    pub(super) duplicates_with_other_start: usize,
    pub(super) scores: usize,
    /// Exports that were accepted and then lost, for a value that cannot be converted
    pub(super) poisoned: u64,
    /// Bodies and events that the checks refused
    pub(super) rejected: u64,
}

impl Store {
    pub(super) fn add_row(&mut self, mut row: Row) {
        self.arrivals += 1;
        row.arrival = self.arrivals;
        self.row_bytes += row.bytes();
        self.rows.push_back(row);
        while self.rows.len() > MAX_ROWS || self.row_bytes > MAX_TEXT_BYTES {
            let Some(oldest) = self.rows.pop_front() else { break };
            self.row_bytes -= oldest.bytes();
        }
    }

    /// The same score overwrites.
    pub(super) fn put_score(&mut self, score: Score) {
        self.arrivals += 1;
        let place = *self.score_places.entry(score.key()).or_insert(self.arrivals);
        self.score_bytes += score.bytes();
        if let Some(replaced) = self.scores.insert(place, score) {
            self.score_bytes -= replaced.bytes();
        }
        while self.scores.len() > MAX_SCORES || self.score_bytes > MAX_TEXT_BYTES {
            let Some((_, oldest)) = self.scores.pop_first() else { break };
            self.score_bytes -= oldest.bytes();
            self.score_places.remove(&oldest.key());
        }
    }

    pub(super) fn count_poisoned(&mut self) {
        self.poisoned += 1;
    }

    pub(super) fn count_rejected(&mut self, how_many: u64) {
        self.rejected += how_many;
    }

    pub(super) fn rows(&self) -> &VecDeque<Row> {
        &self.rows
    }

    pub(super) fn scores(&self) -> impl DoubleEndedIterator<Item = &Score> {
        self.scores.values()
    }

    pub(super) fn arrivals(&self) -> u64 {
        self.arrivals
    }

    pub(super) fn counts(&self) -> Counts {
        let mut first_starts = HashMap::with_capacity(self.rows.len());
        let mut duplicates_with_other_start = 0;
        for row in &self.rows {
            let start = &row.received.start_time_unix_nano;
            if *first_starts.entry(row.key()).or_insert(start) != start {
                duplicates_with_other_start += 1;
            }
        }
        Counts {
            observations: first_starts.len(),
            rows: self.rows.len(),
            duplicates: self.rows.len() - first_starts.len(),
            duplicates_with_other_start,
            scores: self.scores.len(),
            poisoned: self.poisoned,
            rejected: self.rejected,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;
    use serde_json::{Value, json};

    use super::*;

    fn row(id: &str, start: &str) -> Row {
        let mut row = Row { id: id.to_owned(), trace_id: "t".to_owned(), ..Row::default() };
        row.received.start_time_unix_nano = Some(json!(start));
        row
    }

    fn score(id: &str, timestamp: i64, value: f64) -> Score {
        let Value::Object(body) = json!({ "name": "n", "value": value, "traceId": "t" }) else { panic!() };
        Score::read(id, &body, timestamp, &HeaderMap::new()).unwrap()
    }

    #[test]
    fn a_sent_again_observation_is_a_duplicate_row() {
        let mut store = Store::default();
        for row in [row("a", "1"), row("b", "2"), row("a", "1"), row("b", "3")] {
            store.add_row(row);
        }
        let counts = store.counts();
        assert_eq!((counts.observations, counts.rows), (2, 4));
        assert_eq!((counts.duplicates, counts.duplicates_with_other_start), (2, 1));
    }

    #[test]
    fn a_score_overwrites_itself_on_the_same_day_only() {
        let mut store = Store::default();
        store.put_score(score("a", 0, 0.1));
        store.put_score(score("b", 0, 0.2));
        store.put_score(score("a", 1000, 0.3));
        let values: Vec<_> = store.scores().map(|score| score.value.clone()).collect();
        assert_eq!(values, [json!(0.3), json!(0.2)]);
        store.put_score(score("a", 86_400_000, 0.4));
        assert_eq!(store.counts().scores, 3);
    }

    #[test]
    fn the_oldest_rows_go_when_there_are_too_many() {
        let mut store = Store::default();
        for index in 0..=MAX_ROWS {
            store.add_row(row(&index.to_string(), "1"));
        }
        assert_eq!(store.counts().rows, MAX_ROWS);
        assert_eq!(store.rows()[0].id, "1");
    }
}
