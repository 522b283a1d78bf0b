//! Trees as aligned text.

use std::collections::BTreeMap;

use super::{MAX_DEPTH, Node, Trace};
use crate::dev::text::stored_text;

const MAX_CELL_CHARS: usize = 120;

/// `normalized` leaves out what differs from run to run: ids, times and durations.
pub(in crate::dev) fn text(traces: &[Trace<'_>], normalized: bool) -> String {
    let blocks: Vec<String> = traces.iter().map(|trace| trace.text(normalized)).collect();
    blocks.join("\n")
}

impl Trace<'_> {
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
        usage
            .iter()
            .filter(|(key, _)| key.starts_with(prefix))
            .fold(0_u64, |sum, (_, count)| sum.saturating_add(*count))
    };
    match (of("input"), of("output"), of("total")) {
        (None, None, None) => String::new(),
        (None, None, Some(total)) => format!("{total} tokens"),
        _ => format!("{} → {} tokens", sum_of("input"), sum_of("output")),
    }
}

fn one_line(text: &str) -> String {
    one_line_of(text, MAX_CELL_CHARS)
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
