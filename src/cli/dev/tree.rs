//! Traces as trees, for people and for comparison with a committed text.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::row::Row;
use super::score::Score;
use super::store::Store;
use super::text::{iso, stored_text};

/// Deeper observations are shown at this depth, so that a hostile chain costs neither stack nor width.
const MAX_DEPTH: usize = 64;
const MAX_MESSAGE_CHARS: usize = 120;

pub(super) struct Trace<'a> {
    id: &'a str,
    /// Depth first, children after their parent.
    nodes: Vec<Node<'a>>,
    scores: Vec<&'a Score>,
}

struct Node<'a> {
    row: &'a Row,
    depth: usize,
    /// Rows of this observation; more than one when it was sent again.
    copies: usize,
    orphan: bool,
}

/// All traces by start, or those that got rows after the given arrival.
pub(super) fn build(store: &Store, after: Option<u64>) -> Vec<Trace<'_>> {
    let mut by_trace: HashMap<&str, Vec<&Row>> = HashMap::new();
    for row in store.rows() {
        by_trace.entry(&row.trace_id).or_default().push(row);
    }
    if let Some(after) = after {
        by_trace.retain(|_, rows| rows.iter().any(|row| row.arrival > after));
    }
    let mut scores: HashMap<&str, Vec<&Score>> = HashMap::new();
    for score in store.scores() {
        scores.entry(score.trace_id.as_deref().unwrap_or_default()).or_default().push(score);
    }
    let mut traces: Vec<_> = by_trace.into_iter().collect();
    traces.sort_by_cached_key(|(_, rows)| rows.iter().map(|row| (row.start_time, row.arrival)).min());
    let trace = |(id, rows): (_, Vec<_>)| {
        let scores = scores.remove(id).unwrap_or_default();
        Trace { id, nodes: outline(&rows), scores }
    };
    traces.into_iter().map(trace).collect()
}

fn outline<'a>(rows: &[&'a Row]) -> Vec<Node<'a>> {
    let mut copies: HashMap<&str, usize> = HashMap::new();
    let mut first: Vec<&Row> = Vec::new();
    for row in rows {
        let count = copies.entry(&row.id).or_default();
        *count += 1;
        if *count == 1 {
            first.push(row);
        }
    }
    first.sort_by_key(|row| (row.start_time, row.arrival));
    let mut children: HashMap<&str, Vec<&Row>> = HashMap::new();
    let mut tops = Vec::new();
    for row in &first {
        match row.parent_observation_id.as_deref() {
            Some(parent) if copies.contains_key(parent) => children.entry(parent).or_default().push(row),
            parent => tops.push((*row, parent.is_some() && !row.is_app_root)),
        }
    }
    let mut nodes = Vec::new();
    let mut seen = HashSet::new();
    // Rows that no top leads to are their own ancestors; they come last, as orphans.
    let stranded = first.iter().map(|row| (*row, true));
    for (row, orphan) in tops.into_iter().chain(stranded) {
        let mut stack = vec![(row, 0, orphan)];
        while let Some((row, depth, orphan)) = stack.pop() {
            if !seen.insert(row.id.as_str()) {
                continue;
            }
            nodes.push(Node { row, depth, copies: copies[row.id.as_str()], orphan });
            let below = children.get(row.id.as_str()).into_iter().flatten().rev();
            stack.extend(below.map(|child| (*child, (depth + 1).min(MAX_DEPTH), false)));
        }
    }
    nodes
}

/// `normalized` leaves out what differs from run to run: ids, times and durations.
pub(super) fn text(traces: &[Trace<'_>], normalized: bool) -> String {
    let blocks: Vec<String> = traces.iter().map(|trace| trace.text(normalized)).collect();
    blocks.join("\n")
}

pub(super) fn json(traces: &[Trace<'_>], normalized: bool) -> Value {
    traces.iter().map(|trace| trace.json(normalized)).collect()
}

impl Trace<'_> {
    /// The latest given name, else the name of a root observation.
    fn name(&self) -> &str {
        let rows = || self.nodes.iter().map(|node| node.row);
        let given = rows()
            .filter_map(|row| Some((row.start_time, row.trace_name.as_deref()?)))
            .max_by_key(|named| named.0);
        given
            .map(|(_, name)| name)
            .or_else(|| rows().find(|row| row.is_root()).map(|row| row.name.as_str()))
            .unwrap_or("(unnamed)")
    }

    /// Last non-empty over all rows.
    fn last<T>(&self, field: impl Fn(&Row) -> Option<T>) -> Option<T> {
        self.nodes.iter().rev().find_map(|node| field(node.row))
    }

    fn text(&self, normalized: bool) -> String {
        let mut head = format!("trace  {}", self.name());
        for (label, value) in [
            ("user", self.last(|row| row.user_id.clone())),
            ("session", self.last(|row| row.session_id.clone())),
            ("environment", self.last(|row| Some(row.environment.clone()).filter(|name| name != "default"))),
            ("tags", self.last(|row| Some(row.tags.join(",")).filter(|tags| !tags.is_empty()))),
        ] {
            if let Some(value) = value {
                head += &format!("  {label}={value}");
            }
        }
        if !normalized {
            head += &format!("  {}", self.id);
        }
        let guides = self.guides();
        let mut lines: Vec<[String; 7]> = Vec::new();
        for (node, guide) in self.nodes.iter().zip(guides) {
            let duration = if normalized { String::new() } else { duration(node.row.latency_ms()) };
            lines.push([
                format!("{guide}{}", node.row.kind),
                one_line(&node.row.name),
                duration,
                tokens(&node.row.generation.usage_details),
                Some(node.row.level).filter(|level| *level != "DEFAULT").unwrap_or_default().to_owned(),
                node.row.generation.provided_model_name.as_deref().map(one_line).unwrap_or_default(),
                node.remarks().join("  "),
            ]);
        }
        for score in &self.scores {
            let on = self.nodes.iter().find(|node| Some(&node.row.id) == score.observation_id.as_ref());
            let on = on.map_or_else(String::new, |node| format!("on {}", one_line(&node.row.name)));
            lines.push([
                "SCORE".to_owned(),
                one_line(&score.name),
                String::new(),
                one_line(&stored_text(&score.value)),
                String::new(),
                String::new(),
                on,
            ]);
        }
        format!("{}\n{}", one_line_of(&head, usize::MAX), aligned(&lines))
    }

    /// The lines that lead to each node, from the last node up: whether a sibling follows is known then.
    fn guides(&self) -> Vec<String> {
        let mut open = [false; MAX_DEPTH + 1];
        let mut guides: Vec<String> = Vec::with_capacity(self.nodes.len());
        for node in self.nodes.iter().rev() {
            let mut guide = String::new();
            for level in open.iter().take(node.depth).skip(1) {
                guide += if *level { "│  " } else { "   " };
            }
            if node.depth > 0 {
                guide += if open[node.depth] { "├─ " } else { "└─ " };
            }
            open[node.depth] = true;
            open[node.depth + 1..].fill(false);
            guides.push(guide);
        }
        guides.reverse();
        guides
    }

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

impl Node<'_> {
    /// The message of what went wrong, and what is odd about the delivery.
    fn remarks(&self) -> Vec<String> {
        let row = self.row;
        let mut remarks = Vec::new();
        if matches!(row.level, "WARNING" | "ERROR") {
            remarks.extend(row.status_message.as_deref().map(one_line));
        }
        if self.orphan {
            remarks.push("(parent not received)".to_owned());
        }
        if self.copies > 1 {
            remarks.push(format!("(received {} times)", self.copies));
        }
        remarks
    }

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

/// Columns padded to their widest cell, empty columns left out.
fn aligned<const N: usize>(lines: &[[String; N]]) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut out = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).filter(|(_, width)| **width > 0);
        let padded: Vec<String> = cells.map(|(cell, width)| format!("{cell:<width$}")).collect();
        out += padded.join("  ").trim_end();
        out.push('\n');
    }
    out
}

fn duration(ms: i64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
    let seconds = ms as f64 / 1000.0;
    match ms {
        ..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{seconds:.2} s"),
        _ => format!("{} m {:02} s", ms / 60_000, ms % 60_000 / 1000),
    }
}

fn tokens(usage: &BTreeMap<String, u64>) -> String {
    let of = |key: &str| usage.get(key).copied();
    let sum_of = |prefix: &str| {
        usage.iter().filter(|(key, _)| key.starts_with(prefix)).map(|(_, count)| count).sum::<u64>()
    };
    match (of("input"), of("output"), of("total")) {
        (None, None, None) => String::new(),
        (None, None, Some(total)) => format!("{total} tokens"),
        _ => format!("{} → {} tokens", sum_of("input"), sum_of("output")),
    }
}

fn one_line(text: &str) -> String {
    one_line_of(text, MAX_MESSAGE_CHARS)
}

/// Control characters would break the layout, or reach the terminal.
fn one_line_of(text: &str, max: usize) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut line: String = clean.take(max).collect();
    if text.chars().nth(max).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, parent: Option<&str>, start: i64) -> Row {
        Row {
            id: id.to_owned(),
            trace_id: "t1".to_owned(),
            parent_observation_id: parent.map(str::to_owned),
            kind: "SPAN",
            name: id.to_owned(),
            start_time: start,
            end_time: start + 1500,
            level: "DEFAULT",
            environment: "default".to_owned(),
            ..Row::default()
        }
    }

    fn store(rows: impl IntoIterator<Item = Row>) -> Store {
        let mut store = Store::default();
        rows.into_iter().for_each(|row| store.add_row(row));
        store
    }

    fn shown(rows: impl IntoIterator<Item = Row>, normalized: bool) -> String {
        text(&build(&store(rows), None), normalized)
    }

    #[test]
    fn children_are_ordered_by_start_and_columns_aligned() {
        let mut answer = row("answer", Some("request"), 20);
        answer.kind = "GENERATION";
        answer.generation.provided_model_name = Some("gpt-4o".to_owned());
        answer.generation.usage_details = [("input", 512), ("output", 128), ("total", 640)]
            .map(|(key, count)| (key.to_owned(), count))
            .into();
        let mut root = row("request", None, 0);
        root.user_id = Some("u1".to_owned());
        let mut parse = row("parse", Some("lookup"), 11);
        (parse.level, parse.status_message) = ("WARNING", Some("odd\ninput".to_owned()));
        let tree = shown([answer, parse, row("lookup", Some("request"), 10), root], false);
        assert_eq!(
            tree,
            "\
trace  request  user=u1  t1
SPAN           request  1.50 s
├─ SPAN        lookup   1.50 s
│  └─ SPAN     parse    1.50 s                    WARNING          odd input
└─ GENERATION  answer   1.50 s  512 → 128 tokens           gpt-4o
"
        );
    }

    #[test]
    fn a_normalized_tree_has_no_ids_and_no_times() {
        let tree = shown([row("b", Some("a"), 5), row("a", None, 0)], true);
        assert_eq!(tree, "trace  a\nSPAN     a\n└─ SPAN  b\n");
    }

    #[test]
    fn orphans_circles_and_copies_are_marked() {
        let tree =
            shown([row("lost", Some("gone"), 0), row("x", Some("y"), 1), row("y", Some("x"), 2)], true);
        assert!(tree.contains("SPAN     lost  (parent not received)"), "{tree}");
        assert!(tree.contains("SPAN     x     (parent not received)\n└─ SPAN  y"), "{tree}");
        assert!(shown([row("a", None, 0), row("a", None, 0)], true).contains("(received 2 times)"));
    }

    #[test]
    fn a_very_deep_chain_costs_neither_stack_nor_width() {
        let id = |n: usize| format!("n{n}");
        let chain = (0..20_000).map(|n| row(&id(n), (n > 0).then(|| id(n - 1)).as_deref(), 0));
        let store = store(chain);
        let traces = build(&store, None);
        assert_eq!(text(&traces, true).lines().count(), 20_001);
        assert!(json(&traces, true)[0]["observations"][0]["children"].is_array());
    }

    #[test]
    fn json_nests_like_the_text() {
        let rows = store([
            row("a", None, 0),
            row("b", Some("a"), 1),
            row("c", Some("b"), 2),
            row("d", Some("a"), 3),
        ]);
        let trees = json(&build(&rows, None), true);
        let a = &trees[0]["observations"][0];
        assert_eq!((&a["name"], &a["children"][0]["children"][0]["name"]), (&json!("a"), &json!("c")));
        assert_eq!(a["children"][1]["name"], "d");
        assert!(a.get("id").is_none());
    }

    #[test]
    fn only_traces_with_something_new_are_printed() {
        let mut other = row("z", None, 0);
        other.trace_id = "t2".to_owned();
        let store = store([row("a", None, 0), other]);
        assert_eq!(build(&store, Some(1)).len(), 1);
        assert_eq!(build(&store, Some(2)).len(), 0);
    }
}
