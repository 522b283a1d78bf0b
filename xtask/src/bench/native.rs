//! The native client beside other Rust clients: what `tests/bench/native` prints, as a table.

use anyhow::{Result, ensure};
use xshell::cmd;

use super::part::{Part, Table};
use crate::project::Project;
use crate::timed;

/// The width of the column of names.
const NAMES: usize = 40;

pub(super) fn measure(project: &Project) -> Result<Part> {
    let manifest = project.root.join("tests/bench/native/Cargo.toml");
    let printed = timed("bench", "native (eight minutes to build)", || {
        Ok(cmd!(project.sh, "cargo run --release --manifest-path {manifest}").quiet().read()?)
    })?;
    let part = Part { tables: vec![table(&printed)?], ..Part::default() };
    part.print();
    Ok(part)
}

/// Of the lines that have all columns: two of them by name and number, and how much arrived.
fn table(printed: &str) -> Result<Table> {
    let heading = ["", "steady", "arrived", "burst of 5,000", "arrived"].map(str::to_owned).to_vec();
    let mut table = vec![heading];
    for line in printed.lines() {
        let Some((name, numbers)) = line.split_at_checked(NAMES) else { continue };
        let numbers: Vec<_> = numbers.split_whitespace().filter(|word| *word != "%").collect();
        if let [_, steady, arrived, _, burst, burst_arrived] = numbers[..]
            && !name.trim().is_empty()
        {
            let row = [name.trim(), steady, &format!("{arrived} %"), burst, &format!("{burst_arrived} %")];
            table.push(row.map(str::to_owned).to_vec());
        }
    }
    ensure!(table.len() > 2, "tests/bench/native printed no table:\n{printed}");
    Ok(table)
}
