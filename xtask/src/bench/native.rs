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
            && numbers.iter().all(|number| number.parse::<f64>().is_ok())
        {
            let row = [name.trim(), steady, &format!("{arrived} %"), burst, &format!("{burst_arrived} %")];
            table.push(row.map(str::to_owned).to_vec());
        }
    }
    ensure!(table.len() > 2, "tests/bench/native printed no table:\n{printed}");
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_the_lines_of_clients_and_nothing_else() {
        let printed = format!(
            "7 rounds; steady: 20000 generations of 2 kB, 10000 a second\n\n{:<40} {:>12} {:>8} {:>11} {:>12} {:>8} {:>11}\n{:<40} {:>12.1} {:>8.2} {:>9.1} % {:>12.1} {:>8.2} {:>9.1} %\n{:<40} {:>12.1} {:>8.2} {:>9.1} % {:>12.1} {:>8.2} {:>9.1} %\n\nmedians; µs: CPU time per observation that has arrived; ratio: to langfuse-edge\n",
            "",
            "steady µs",
            "ratio",
            "delivered",
            "burst µs",
            "ratio",
            "delivered",
            "langfuse-edge",
            10.0,
            1.0,
            100.0,
            9.0,
            1.0,
            100.0,
            "opentelemetry-otlp + -langfuse",
            22.0,
            2.2,
            100.0,
            20.0,
            2.22,
            41.0,
        );
        let rows: Vec<_> = table(&printed).expect("a table").into_iter().skip(1).collect();
        assert_eq!(
            rows,
            [
                ["langfuse-edge", "1.00", "100.0 %", "1.00", "100.0 %"],
                ["opentelemetry-otlp + -langfuse", "2.20", "100.0 %", "2.22", "41.0 %"],
            ]
        );
        assert!(table("nothing was printed").is_err());
    }
}
