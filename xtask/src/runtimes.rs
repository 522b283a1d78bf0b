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
    if cfg!(not(target_os = "linux")) {
        progress("runtimes", "left out: npm has all the versions of Node.js for Linux only");
        return Ok(());
    }
    let Runtimes { modules, chromium } = setup::runtimes(project)?;
    cmd!(project.sh, "node tests/runtimes/run.mjs")
        .env("LANGFUSE_EDGE_BIN", project.receiver())
        .env("LANGFUSE_EDGE_RUNTIMES", modules)
        .env("LANGFUSE_EDGE_CHROMIUM", chromium)
        .run()?;
    Ok(())
}
