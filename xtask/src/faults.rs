//! `cargo xtask faults`: every fault through every client, against the receiver.

use std::process::ExitCode;

use anyhow::Result;
use xshell::cmd;

use crate::dist;
use crate::project::Project;
use crate::setup::Tools;

pub(crate) fn run(project: &Project, tools: &Tools, wanted: &[&str]) -> Result<ExitCode> {
    dist::run(project, tools)?;
    project.build_receiver()?;
    matrix(project, wanted)?;
    Ok(ExitCode::SUCCESS)
}

/// Needs the npm package and the receiver. `wanted` is what `run.mjs` takes.
pub(crate) fn matrix(project: &Project, wanted: &[&str]) -> Result<()> {
    let sh = &project.sh;
    let target = &project.target;
    // With the features of the receiver and the tests, so that the library is built once for all of them.
    cmd!(sh, "cargo build --features cli,macros,tracing --example faults-client --target-dir {target}")
        .run()?;
    let client = target.join("debug/examples/faults-client").with_extension(std::env::consts::EXE_EXTENSION);
    cmd!(sh, "node tests/faults/run.mjs {wanted...}")
        .env("LANGFUSE_EDGE_BIN", project.receiver())
        .env("LANGFUSE_EDGE_FAULTS_CLIENT", client)
        .run()?;
    Ok(())
}
