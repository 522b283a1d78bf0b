//! `cargo xtask faults`: every fault through every client, against the receiver.

use std::process::ExitCode;

use anyhow::Result;
use xshell::cmd;

use crate::dist;
use crate::project::Project;
use crate::setup::Tools;

pub(crate) fn run(project: &Project, tools: &Tools, full: bool) -> Result<ExitCode> {
    dist::run(project, tools)?;
    project.build_receiver()?;
    matrix(project, full)?;
    Ok(ExitCode::SUCCESS)
}

/// Needs the npm package and the receiver.
pub(crate) fn matrix(project: &Project, full: bool) -> Result<()> {
    let sh = &project.sh;
    let target = &project.target;
    // With the receiver's features, so that the library is built once for both.
    cmd!(sh, "cargo build --features cli --example faults-client --target-dir {target}").run()?;
    let client = target.join("debug/examples/faults-client").with_extension(std::env::consts::EXE_EXTENSION);
    let full = full.then_some("--full");
    cmd!(sh, "node tests/faults/run.mjs {full...}")
        .env("LANGFUSE_EDGE_BIN", project.receiver())
        .env("LANGFUSE_EDGE_FAULTS_CLIENT", client)
        .run()?;
    Ok(())
}
