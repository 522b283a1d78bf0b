//! Traces as trees, for people and for comparison with a committed text.

mod json;
mod text;

use std::collections::{HashMap, HashSet};

use super::row::Row;
use super::score::Score;
use super::store::Store;

pub(super) use json::json;
pub(super) use text::text;

/// Deeper observations are shown at this depth, so that a hostile chain costs neither stack nor width.
const MAX_DEPTH: usize = 64;

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
    traces.sort_by_cached_key(|(_, rows)| rows.iter().map(|row| row.order()).min());
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
    first.sort_by_key(|row| row.order());
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
}

#[cfg(test)]
mod tests {
    use serde_json::json as value;

    use super::*;

    fn row(id: &str, parent: Option<&str>, start: i64) -> Row {
        Row {
            id: id.to_owned(),
            trace_id: "t1".to_owned(),
            parent_observation_id: parent.map(str::to_owned),
            kind: "SPAN",
            name: id.to_owned(),
            start_time: start,
            start_nanos: start,
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
        assert_eq!((&a["name"], &a["children"][0]["children"][0]["name"]), (&value!("a"), &value!("c")));
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
