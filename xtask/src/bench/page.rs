//! `docs/benchmarks.md`: `tests/bench/page.md`, with what was measured in the place of its marks.

use anyhow::{Context, Result, ensure};
use xshell::cmd;

use super::budget::Outcome;
use super::part::{Part, Table, markdown};
use super::plot;
use crate::progress;
use crate::project::Project;

pub(super) fn write(project: &Project, parts: &[(&str, Part)], outcomes: &[Outcome]) -> Result<()> {
    let sh = &project.sh;
    let mut page = sh.read_file(project.root.join("tests/bench/page.md"))?;
    let mut fill = |mark: &str, text: &str| {
        let mark = format!("{{{{{mark}}}}}");
        ensure!(page.matches(&mark).count() == 1, "tests/bench/page.md does not have {mark} exactly once");
        page = page.replace(&mark, text.trim_end());
        Ok(())
    };
    fill("measured", &circumstances(project)?)?;
    let heading = ["what", "budget", "measured", "", "aim"].map(str::to_owned).to_vec();
    let budgets: Table = [heading].into_iter().chain(outcomes.iter().map(Outcome::row)).collect();
    fill("budgets", &markdown(&budgets))?;
    let pictures = project.root.join("docs/benchmarks");
    for (name, part) in parts {
        for (index, table) in part.tables.iter().enumerate() {
            fill(&format!("{name} {}", index + 1), &markdown(table))?;
        }
        for plot in &part.plots {
            sh.create_dir(&pictures)?;
            sh.write_file(pictures.join(&plot.name).with_extension("svg"), plot::svg(plot))?;
        }
    }
    ensure!(!page.contains("{{"), "tests/bench/page.md has a mark for something that nobody measures");
    sh.write_file(project.root.join("docs/benchmarks.md"), page)?;
    progress("bench", "docs/benchmarks.md is written");
    Ok(())
}

/// When, on what machine, with which versions.
fn circumstances(project: &Project) -> Result<String> {
    let sh = &project.sh;
    let read = |file: &str| sh.read_file(file).unwrap_or_default();
    let after = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let cores = std::thread::available_parallelism()?;
    let processor =
        after(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let system = cmd!(sh, "uname -sr").quiet().read().unwrap_or_default();
    let date = cmd!(sh, "date -u +%F").quiet().read().context("the date")?;
    let node = cmd!(sh, "node --version").quiet().read()?;
    let rustc = cmd!(sh, "rustc --version").quiet().read()?;
    let load = read("/proc/loadavg");
    let load = load.split(' ').nth(2).unwrap_or("unknown");
    Ok(format!(
        "Measured on {date}: {cores} cores of {processor}, {system}, Node.js {node}, {rustc}; on average {load} programs wanted to run."
    ))
}
