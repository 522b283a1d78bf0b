//! `cargo xtask runtimes`: the npm package, as a user installs it, on every runtime.

use std::process::ExitCode;

use anyhow::Result;
use xshell::cmd;

use crate::project::Project;
use crate::setup::{self, Runtimes, Tools};
use crate::{dist, progress};

pub(crate) fn run(project: &Project, tools: &Tools) -> Result<ExitCode> {
    dist::run(project, tools)?;
    project.build_receiver()?;
    table(project)?;
    Ok(ExitCode::SUCCESS)
}

/// Needs the npm package and the receiver.
pub(crate) fn table(project: &Project) -> Result<()> {
    play(project, "tests/runtimes/run.mjs")
}

/// The suites of `tests/js` in Deno and Bun. They need what the table needs.
pub(crate) fn suites(project: &Project) -> Result<()> {
    play(project, "tests/runtimes/suites.mjs")
}

fn play(project: &Project, script: &str) -> Result<()> {
    if cfg!(not(target_os = "linux")) {
        progress("runtimes", "left out: npm has all the runtimes for Linux only");
        return Ok(());
    }
    let Runtimes { modules, chromium } = setup::runtimes(project)?;
    cmd!(project.sh, "node {script}")
        .env("LANGFUSE_EDGE_BIN", project.receiver())
        .env("LANGFUSE_EDGE_RUNTIMES", modules)
        .env("LANGFUSE_EDGE_CHROMIUM", chromium)
        .run()?;
    Ok(())
}
