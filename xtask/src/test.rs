//! `cargo xtask test`: everything that CI checks, cheapest first, until the first failure.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use xshell::{Shell, cmd};

use crate::project::Project;
use crate::setup::Tools;
use crate::{bench, demo, dist, docs, faults, now, progress, public_api, runtimes, rust_worker, workers};

const WASM: [&str; 2] = ["--target", "wasm32-unknown-unknown"];

type Step = (&'static str, fn(&Project, &Tools) -> Result<()>);

const STEPS: &[Step] = &[
    ("format", format),
    ("lint", lint),
    ("features one by one", features),
    ("lint wasm32", lint_wasm),
    ("documentation", |project, _| docs::of_the_crate(project)),
    ("public API", |project, _| public_api::check(project)),
    ("cargo test", cargo_test),
    ("fuzz targets build", fuzz_targets),
    ("cargo test in wasm", cargo_test_wasm),
    ("npm package", dist::run),
    ("documentation of the npm package", |project, _| docs::of_the_package(project)),
    ("bare wasm-pack package", dist::bare_package),
    ("no exports in a Rust Worker", no_exports),
    ("Rust Worker", rust_worker::build),
    ("types", types),
    ("receiver", |project, _| project.build_receiver()),
    ("JavaScript tests", javascript),
    ("JavaScript tests elsewhere", |project, _| runtimes::suites(project)),
    ("golden comparison", golden),
    ("runtimes", |project, _| runtimes::table(project)),
    ("workers", |project, _| workers::table(project, &[])),
    ("fault matrix", |project, _| faults::matrix(project, &[])),
    ("budgets", |project, _| bench::quick(project).map(drop)),
    ("demo", run_demo),
];

pub(crate) fn run(project: &Project, tools: &Tools) -> Result<ExitCode> {
    let mut done = Vec::new();
    let mut failure = None;
    for &(name, step) in STEPS {
        progress("test", format_args!("{name}…"));
        let start = now();
        let result = step(project, tools);
        done.push((name, if result.is_ok() { "ok" } else { "FAILED" }, start.elapsed()));
        if let Err(error) = result {
            failure = Some(error.context(name));
            break;
        }
    }
    let total = done.iter().map(|(_, _, time)| time).sum::<Duration>();
    for (name, outcome, time) in &done {
        progress("test", format_args!("{name:<32} {outcome:<6} {:>6.1} s", time.as_secs_f64()));
    }
    progress("test", format_args!("{} of {} steps in {:.1} s", done.len(), STEPS.len(), total.as_secs_f64()));
    failure.map_or(Ok(ExitCode::SUCCESS), Err)
}

fn format(project: &Project, _: &Tools) -> Result<()> {
    cmd!(project.sh, "cargo fmt --all --check").run()?;
    for outside in ["fuzz", "tests/rust-worker", "examples/rust-worker", "tests/bench/native"] {
        let manifest = project.root.join(outside).join("Cargo.toml");
        cmd!(project.sh, "cargo fmt --manifest-path {manifest} --check").run()?;
    }
    Ok(())
}

fn lint(project: &Project, _: &Tools) -> Result<()> {
    let target = &project.target;
    Ok(cmd!(
        project.sh,
        "cargo clippy --workspace --all-targets --all-features --target-dir {target} -- -D warnings"
    )
    .run()?)
}

/// Each does without the others.
fn features(project: &Project, _: &Tools) -> Result<()> {
    let target = &project.target;
    for feature in ["", "js", "stream", "macros", "tracing", "cli"] {
        cmd!(
            project.sh,
            "cargo clippy --package langfuse-edge --no-default-features --features {feature} --target-dir {target} -- -D warnings"
        )
        .run()?;
    }
    Ok(())
}

/// As the npm package has it and as a Rust Worker takes it.
fn lint_wasm(project: &Project, tools: &Tools) -> Result<()> {
    let clippy = || tools.wasm.clippy(&project.sh).args(["--package", "langfuse-edge"]).args(WASM);
    clippy().args(["--lib", "--tests", "--", "-D", "warnings"]).run()?;
    Ok(clippy().args(["--lib", "--no-default-features", "--", "-D", "warnings"]).run()?)
}

fn cargo_test(project: &Project, _: &Tools) -> Result<()> {
    let target = &project.target;
    Ok(cmd!(project.sh, "cargo test --workspace --features cli,macros,tracing --target-dir {target}")
        .run()?)
}

/// They run by hand only: libFuzzer needs nightly Rust.
fn fuzz_targets(project: &Project, _: &Tools) -> Result<()> {
    let target = project.target.join("fuzz");
    Ok(cmd!(project.sh, "cargo check --locked --manifest-path fuzz/Cargo.toml --target-dir {target}")
        .run()?)
}

fn cargo_test_wasm(project: &Project, tools: &Tools) -> Result<()> {
    let runner = tools.wasm_bindgen.join("wasm-bindgen-test-runner");
    tools
        .wasm
        .cargo(&project.sh)
        .args(["test", "--test", "it"])
        .args(WASM)
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", runner)
        .run()?;
    Ok(())
}

/// A Rust program compiled to wasm takes the crate without its JavaScript classes.
fn no_exports(project: &Project, tools: &Tools) -> Result<()> {
    let sh = &project.sh;
    let built = rust_worker::compile(project, tools, "tests/rust-worker", "rust_worker.wasm")?;

    let in_package = class_exports(sh, &dist::bare_package_dir(project).join("langfuse_edge_bg.wasm"))?;
    ensure!(
        !in_package.is_empty(),
        "the wasm-pack package's wasm exports no class, so this check would find nothing"
    );
    let in_worker = class_exports(sh, &built)?;
    ensure!(in_worker.is_empty(), "a Rust Worker's wasm exports our classes: {}", in_worker.join(", "));

    let wasm_bindgen = tools.wasm_bindgen.join("wasm-bindgen");
    let out = rust_worker_dir(project);
    cmd!(sh, "{wasm_bindgen} {built} --target nodejs --out-name rust_worker --out-dir {out}").run()?;
    // The repository's own package.json, above, says that .js files are modules.
    Ok(sh.write_file(out.join("package.json"), "{ \"type\": \"commonjs\" }\n")?)
}

/// The Rust Worker with its glue, for a test to run.
fn rust_worker_dir(project: &Project) -> PathBuf {
    project.target.join("rust-worker")
}

/// The exports of a wasm file that belong to the classes `Langfuse` and `Observation`.
fn class_exports(sh: &Shell, wasm: &Path) -> Result<Vec<String>> {
    let script = "const wasm = new WebAssembly.Module(require('fs').readFileSync(process.argv[1]));
        for (const { name } of WebAssembly.Module.exports(wasm)) console.log(name)";
    let names = cmd!(sh, "node -e {script} {wasm}").quiet().read()?;
    ensure!(
        names.lines().any(|name| name == "memory"),
        "{} does not look like a wasm module",
        wasm.display()
    );
    let ours = |name: &&str| {
        let name = name.to_ascii_lowercase();
        name.contains("langfuse") || name.contains("observation")
    };
    Ok(names.lines().filter(ours).map(str::to_owned).collect())
}

fn types(project: &Project, _: &Tools) -> Result<()> {
    let sh = &project.sh;
    let tsc = project.npm_bin("tsc");
    // As a strict user sees the package, with TypeScript's default library and nothing else.
    let entries = ["index", "raw", "console", "v3", "cjs/index", "cjs/raw", "cjs/console", "cjs/v3"];
    let mut programs = entries.map(|name| project.root.join(format!("pkg/dist/{name}.d.ts"))).to_vec();
    programs.extend(find(project, "tests/types", |name| name.ends_with(".mts"))?);
    for program in programs {
        // The types of LlamaIndex name packages that it does not bring.
        let own = program.ends_with("llamaindex.mts").then_some("--skipLibCheck");
        cmd!(sh, "{tsc} --noEmit --strict --module nodenext --target es2022 {own...} {program}").run()?;
    }
    for tsconfig in find(project, "examples", |name| name == "tsconfig.json")? {
        cmd!(sh, "{tsc} --noEmit --project {tsconfig}").run()?;
    }
    Ok(())
}

fn javascript(project: &Project, _: &Tools) -> Result<()> {
    let tests = find(project, "tests/js", |name| name.ends_with(".test.js") || name.ends_with(".test.mjs"))?;
    ensure!(!tests.is_empty(), "tests/js has no *.test.js or *.test.mjs");
    cmd!(project.sh, "node --test --test-concurrency=3 --test-reporter=spec {tests...}")
        .env("LANGFUSE_EDGE_BIN", project.receiver())
        .env("LANGFUSE_EDGE_BARE", dist::bare_package_dir(project))
        .env("LANGFUSE_EDGE_RUST_WORKER", rust_worker_dir(project))
        .env("LANGFUSE_EDGE_RUST_EXAMPLE", rust_worker::dir(project))
        .run()?;
    Ok(())
}

/// What arrives is what Langfuse's own client sends, but for the listed differences.
fn golden(project: &Project, _: &Tools) -> Result<()> {
    cmd!(project.sh, "node --test --test-reporter=spec tests/golden/golden.test.mjs")
        .env("LANGFUSE_EDGE_BIN", project.receiver())
        .run()?;
    Ok(())
}

fn run_demo(project: &Project, _: &Tools) -> Result<()> {
    ensure!(demo::play(project, false)?.success(), "the demo did not end well");
    Ok(())
}

/// The files below a directory of the project that have such a name, sorted.
fn find(project: &Project, directory: &str, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut directories = vec![project.root.join(directory)];
    while let Some(directory) = directories.pop() {
        let entries =
            std::fs::read_dir(&directory).with_context(|| format!("cannot list {}", directory.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() {
                if name != "node_modules" {
                    directories.push(entry.path());
                }
            } else if wanted(&name) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}
