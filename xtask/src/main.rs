//! The only build logic of the project: `cargo xtask <command>`.

mod bench;
mod demo;
mod dist;
mod docs;
mod exports;
mod faults;
mod glue;
mod panics;
mod project;
mod public_api;
mod runtimes;
mod rust_worker;
mod setup;
mod test;
mod wasm_module;
mod wasm_std;
mod workers;

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::project::Project;

const HELP: &str = "\
Usage: cargo xtask <command>

  setup          install what building needs, once: wasm32 std, wasm-bindgen, wasm-pack, npm packages
  dist           build the npm package into pkg/ and print its sizes
  docs           write the API references of the crate (rustdoc) and of the npm package (TypeDoc)
  demo [--keep]  run the email Worker against a local receiver and show its traces;
                 --keep leaves the receiver running afterwards
  faults [--full] [<fault or client>...]
                 run the fault matrix, every fault through every client or those that are named, and print its
                 table; --full watches the server longer for what arrives late
  public-api [--bless]
                 compare what the crate offers to Rust programs with tests/public-api.txt; --bless writes that
  runtimes       install the packed npm package on every runtime and bundler, run a program there,
                 and print what worked
  bench [--quick]
                 measure speed, size, memory and delivery beside the peers, hold them against the budgets, and write
                 docs/benchmarks.md; --quick only checks the budgets, roughly
  workers [<word of a scenario's name>...]
                 run Workers and other serverless functions in their runtimes and print what was recorded, what
                 arrived, and what it added to the responses
  test           everything that CI checks

Needs Rust and Node.js 20 or later; every command runs `setup` first.";

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(code) => code,
        Err(error) => {
            progress("xtask", format_args!("failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<ExitCode> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    if matches!(args[..], [] | ["help" | "--help" | "-h"]) {
        print_line(format_args!("{HELP}"));
        return Ok(ExitCode::SUCCESS);
    }
    let project = Project::open()?;
    match args[..] {
        ["setup"] => {
            setup::run(&project)?;
            progress("setup", "everything is in place");
            Ok(ExitCode::SUCCESS)
        }
        ["dist"] => dist::run(&project, &setup::run(&project)?).map(|()| ExitCode::SUCCESS),
        ["docs"] => docs::run(&project, &setup::run(&project)?),
        ["demo"] => demo::run(&project, &setup::run(&project)?, false),
        ["demo", "--keep"] => demo::run(&project, &setup::run(&project)?, true),
        ["bench"] => bench::run(&project, &setup::run(&project)?),
        ["bench", "--quick"] => {
            dist::run(&project, &setup::run(&project)?)?;
            bench::quick(&project)
        }
        ["faults", ref wanted @ ..] => faults::run(&project, &setup::run(&project)?, wanted),
        ["runtimes"] => runtimes::run(&project, &setup::run(&project)?),
        ["workers", ref wanted @ ..] => workers::run(&project, &setup::run(&project)?, wanted),
        ["public-api"] => public_api::check(&project).map(|()| ExitCode::SUCCESS),
        ["public-api", "--bless"] => public_api::bless(&project).map(|()| ExitCode::SUCCESS),
        ["test"] => test::run(&project, &setup::run(&project)?),
        _ => bail!("`{}` is not a command\n\n{HELP}", args.join(" ")),
    }
}

/// One line of progress, prefixed with the command it belongs to.
fn progress(command: &str, line: impl std::fmt::Display) {
    print_line(format_args!("{command}: {line}"));
}

/// Nobody reading on is no reason to stop.
fn print_line(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Runs `work` and prints how long it took.
fn timed<T>(command: &str, what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    progress(command, format_args!("{what}…"));
    let start = now();
    let value = work().with_context(|| what.to_owned())?;
    progress(command, format_args!("{what}: {:.1} s", start.elapsed().as_secs_f64()));
    Ok(value)
}

#[expect(clippy::disallowed_methods, reason = "a build tool measures its steps")]
fn now() -> Instant {
    Instant::now()
}
