//! What one script has found.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::print_line;

/// Numbers that budgets are about, by name.
pub(super) type Values = BTreeMap<String, f64>;

/// The first row is the heading.
pub(super) type Table = Vec<Vec<String>>;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Part {
    pub(super) values: Values,
    pub(super) tables: Vec<Table>,
    pub(super) plots: Vec<Plot>,
}

/// Lines over a quantity that grows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plot {
    /// Of its file.
    pub(super) name: String,
    pub(super) title: String,
    pub(super) x: String,
    pub(super) y: String,
    pub(super) lines: Vec<Line>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<[f64; 2]>,
}

impl Part {
    pub(super) fn print(&self) {
        for table in &self.tables {
            let width = |column: usize| {
                table.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
            };
            for row in table {
                let cells = row.iter().enumerate();
                let line: String = cells
                    .map(|(column, cell)| format!("{cell:<0$}  ", width(column).unwrap_or_default()))
                    .collect();
                print_line(format_args!("  {}", line.trim_end()));
            }
            print_line(format_args!(""));
        }
    }
}

pub(super) fn markdown(table: &Table) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut rows = table.iter();
    let Some(heading) = rows.next() else { return String::new() };
    let rule: Vec<_> = heading.iter().map(|_| "---".to_owned()).collect();
    [line(heading), line(&rule)].into_iter().chain(rows.map(|row| line(row))).collect()
}
