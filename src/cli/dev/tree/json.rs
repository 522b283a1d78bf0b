//! Trees as nested objects.

use serde_json::{Map, Value, json};

use super::{Node, Trace};
use crate::dev::score::Score;
use crate::dev::text::iso;

/// `normalized` leaves out what differs from run to run: ids, times and durations.
pub(in crate::dev) fn json(traces: &[Trace<'_>], normalized: bool) -> Value {
    traces.iter().map(|trace| trace.json(normalized)).collect()
}

impl Trace<'_> {
    fn json(&self, normalized: bool) -> Value {
        let mut tops = Vec::new();
        let mut path: Vec<Map<String, Value>> = Vec::new();
        for node in &self.nodes {
            while path.len() > node.depth {
                close(&mut path, &mut tops);
            }
            path.push(node.json(normalized));
        }
        while !path.is_empty() {
            close(&mut path, &mut tops);
        }
        let scores: Vec<Value> = self.scores.iter().map(|score| score_json(score, normalized)).collect();
        let mut trace = json!({
            "name": self.name(),
            "userId": self.last(|row| row.user_id.clone()),
            "sessionId": self.last(|row| row.session_id.clone()),
            "environment": self.last(|row| Some(row.environment.clone())),
            "tags": self.last(|row| Some(row.tags.clone()).filter(|tags| !tags.is_empty())).unwrap_or_default(),
            "observations": tops,
            "scores": scores,
        });
        if !normalized {
            trace["id"] = self.id.into();
        }
        trace
    }
}

impl Node<'_> {
    fn json(&self, normalized: bool) -> Map<String, Value> {
        let row = self.row;
        let mut out = Map::new();
        let mut put = |key: &str, value: Value| {
            out.insert(key.to_owned(), value);
        };
        put("kind", row.kind.into());
        put("name", row.name.clone().into());
        put("level", row.level.into());
        put("statusMessage", json!(row.status_message));
        put("model", json!(row.generation.provided_model_name));
        put("usageDetails", json!(row.generation.usage_details));
        put("orphan", self.orphan.into());
        put("copies", self.copies.into());
        if !normalized {
            put("id", row.id.clone().into());
            put("startTime", iso(row.start_time).into());
            put("durationMs", row.latency_ms().into());
        }
        put("children", json!([]));
        out
    }
}

/// Hands the deepest open object to its parent, or to the top.
fn close(path: &mut Vec<Map<String, Value>>, tops: &mut Vec<Value>) {
    let Some(node) = path.pop().map(Value::Object) else { return };
    match path.last_mut().and_then(|parent| parent.get_mut("children")).and_then(Value::as_array_mut) {
        Some(children) => children.push(node),
        None => tops.push(node),
    }
}

fn score_json(score: &Score, normalized: bool) -> Value {
    let mut out = json!({ "name": score.name, "value": score.value, "dataType": score.data_type });
    if !normalized {
        out["id"] = score.id.clone().into();
        out["observationId"] = json!(score.observation_id);
    }
    out
}
