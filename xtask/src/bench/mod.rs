//! `cargo xtask bench`: speed, size, memory and delivery beside the peers, measured in one run.
//!
//! The programs of `tests/bench` measure; here they are run one after the other, what they find is held against the budgets,
//! and `docs/benchmarks.md` is written.

mod budget;
mod native;
mod page;
mod part;
mod plot;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use xshell::cmd;

use crate::bench::part::{Part, Values};
use crate::project::Project;
use crate::setup::{self, Tools};
use crate::{dist, progress};

/// Names in the page, and what measures them.
type Script = (&'static str, &'static [&'static str]);

/// What the budgets are about.
const BUDGETED: [Script; 3] =
    [("cpu", &["cpu.mjs"]), ("bursts", &["bursts.mjs"]), ("memory", &["memory.mjs"])];
const FURTHER: [Script; 7] = [
    ("bun", &["cpu.mjs", "--bun"]),
    ("workerd", &["workerd.mjs"]),
    ("path", &["path.mjs"]),
    ("startup", &["startup.mjs"]),
    ("size", &["size.mjs"]),
    ("delivery", &["delivery.mjs"]),
    ("growth", &["growth.mjs"]),
];

pub(crate) fn run(project: &Project, tools: &Tools) -> Result<ExitCode> {
    dist::run(project, tools)?;
    setup::bench_peers(project)?;
    let bench = Bench::build(project, Kind::Full)?;
    let mut parts = Vec::new();
    for (name, script) in BUDGETED.into_iter().chain(FURTHER) {
        parts.push((name, bench.measure(name, script)?));
    }
    parts.push(("native", native::measure(project)?));
    let values = values(project, parts.iter().map(|(_, part)| part))?;
    let outcomes = budget::check(&values, budget::Margin::None)?;
    page::write(project, &parts, &outcomes)?;
    conclude(&outcomes)
}

/// For CI: the budgets only, with a margin for a busy machine. Needs the npm package and the receiver.
pub(crate) fn quick(project: &Project) -> Result<ExitCode> {
    let bench = Bench::build(project, Kind::Quick)?;
    let mut parts = Vec::new();
    for (name, script) in BUDGETED {
        parts.push(bench.measure(name, &[script, &["--quick"]].concat())?);
    }
    let values = values(project, parts.iter())?;
    conclude(&budget::check(&values, budget::Margin::Noise)?)
}

fn conclude(outcomes: &[budget::Outcome]) -> Result<ExitCode> {
    for outcome in outcomes {
        progress("bench", outcome);
    }
    let missed = outcomes.iter().filter(|outcome| !outcome.is_kept).count();
    ensure!(missed == 0, "{missed} of {} budgets missed", outcomes.len());
    Ok(ExitCode::SUCCESS)
}

/// What the scripts have found, and what needs no script.
fn values<'a>(project: &Project, parts: impl Iterator<Item = &'a Part>) -> Result<Values> {
    let mut values = Values::new();
    for part in parts {
        values.extend(part.values.clone());
    }
    values.insert("workerBytes".to_owned(), dist::minimal_worker_bytes(project)? as f64);
    let manifest = project.sh.read_file(project.root.join("pkg/package.json"))?;
    let manifest: serde_json::Value = serde_json::from_str(&manifest)?;
    let dependencies = manifest["dependencies"].as_object().map_or(0, serde_json::Map::len);
    values.insert("dependencies".to_owned(), dependencies as f64);
    Ok(values)
}

#[derive(Clone, Copy)]
enum Kind {
    Full,
    Quick,
}

/// The programs that the scripts use.
struct Bench<'a> {
    project: &'a Project,
    receiver: PathBuf,
    memory: PathBuf,
    /// Where Bun is; installed for a full run only.
    runtimes: Option<PathBuf>,
}

impl<'a> Bench<'a> {
    fn build(project: &'a Project, kind: Kind) -> Result<Self> {
        let sh = &project.sh;
        let target = &project.target;
        let options = ["build", "--features", "cli,macros,tracing", "--target-dir"];
        let program = |name: &str| target.join(name).with_extension(std::env::consts::EXE_EXTENSION);
        // A receiver built for speed makes nobody wait; that of the tests is there already.
        let (receiver, runtimes) = match kind {
            Kind::Full => {
                cmd!(sh, "cargo {options...} {target} --profile bench --bin langfuse-edge").run()?;
                (program("release/langfuse-edge"), Some(setup::runtime_modules(project)?))
            }
            Kind::Quick => {
                project.build_receiver()?;
                (project.receiver(), None)
            }
        };
        // The allocations of a program are the same however it is built.
        cmd!(sh, "cargo {options...} {target} --example bench-memory").run()?;
        Ok(Self { project, receiver, memory: program("debug/examples/bench-memory"), runtimes })
    }

    fn measure(&self, name: &str, script: &[&str]) -> Result<Part> {
        let [script, arguments @ ..] = script else { return Ok(Part::default()) };
        let script = self.project.root.join("tests/bench/node").join(script);
        crate::timed("bench", name, || {
            let found = cmd!(self.project.sh, "node {script} {arguments...}")
                .env("LANGFUSE_EDGE_BIN", &self.receiver)
                .env("LANGFUSE_EDGE_BENCH_MEMORY", &self.memory)
                .envs(self.runtimes.iter().map(|modules| ("LANGFUSE_EDGE_RUNTIMES", modules)))
                .quiet()
                .read()?;
            let part: Part = found.lines().last().context("nothing was printed").and_then(|line| {
                serde_json::from_str(line).with_context(|| format!("not a part of the bench: {line}"))
            })?;
            part.print();
            Ok(part)
        })
    }
}
