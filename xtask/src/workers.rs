//! `cargo xtask workers`: Workers and other serverless functions in the real runtimes, and what became of their traces.

use std::process::ExitCode;

use anyhow::Result;
use xshell::cmd;

use crate::dist;
use crate::project::Project;
use crate::setup::Tools;

pub(crate) fn run(project: &Project, tools: &Tools, wanted: &[&str]) -> Result<ExitCode> {
    dist::run(project, tools)?;
    project.build_receiver()?;
    table(project, wanted)?;
    Ok(ExitCode::SUCCESS)
}

/// Needs the npm package and the receiver. `wanted` is what `run.mjs` takes.
pub(crate) fn table(project: &Project, wanted: &[&str]) -> Result<()> {
    cmd!(project.sh, "node tests/workers/run.mjs {wanted...}")
        .env("LANGFUSE_EDGE_BIN", project.receiver())
        .run()?;
    Ok(())
}
