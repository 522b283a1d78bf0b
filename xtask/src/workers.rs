//! `cargo xtask workers`: Workers and other serverless functions in the real runtimes, and what became of their traces.

use std::process::ExitCode;

use anyhow::Result;
use xshell::cmd;

use crate::project::Project;
use crate::setup::Tools;
use crate::{dist, rust_worker};

pub(crate) fn run(project: &Project, tools: &Tools, wanted: &[&str]) -> Result<ExitCode> {
    dist::run(project, tools)?;
    project.build_receiver()?;
    rust_worker::build(project, tools)?;
    table(project, wanted)?;
    Ok(ExitCode::SUCCESS)
}

/// Needs the npm package, the receiver and the Rust Worker. `wanted` is what `run.mjs` takes.
pub(crate) fn table(project: &Project, wanted: &[&str]) -> Result<()> {
    cmd!(project.sh, "node tests/workers/run.mjs {wanted...}")
        .env("LANGFUSE_EDGE_BIN", project.receiver())
        .env("LANGFUSE_EDGE_RUST_EXAMPLE", rust_worker::dir(project))
        .run()?;
    Ok(())
}
