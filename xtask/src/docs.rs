//! `cargo xtask docs`: the API references of the crate and of the npm package.

use std::process::ExitCode;

use anyhow::Result;
use xshell::cmd;

use crate::project::Project;
use crate::setup::{self, Tools};
use crate::{dist, progress};

pub(crate) fn run(project: &Project, tools: &Tools) -> Result<ExitCode> {
    dist::build(project, tools)?;
    of_the_crate(project)?;
    of_the_package(project)?;
    progress("docs", format_args!("Rust: {}", project.target.join("doc/langfuse_edge/index.html").display()));
    progress("docs", format_args!("JavaScript: {}", project.target.join("doc/npm/index.html").display()));
    Ok(ExitCode::SUCCESS)
}

/// Whatever rustdoc has to warn of is an error.
pub(crate) fn of_the_crate(project: &Project) -> Result<()> {
    let target = &project.target;
    Ok(cmd!(
        project.sh,
        "cargo doc --workspace --no-deps --features langfuse-edge/macros,langfuse-edge/tracing --exclude xtask --target-dir {target}"
    )
    .env("RUSTDOCFLAGS", "-D warnings")
    .run()?)
}

/// Needs the npm package. What is public and says nothing of itself is an error.
pub(crate) fn of_the_package(project: &Project) -> Result<()> {
    let typedoc = setup::typedoc(project)?;
    let folder = project.root.join("xtask/typedoc");
    let (options, tsconfig) = (folder.join("typedoc.json"), folder.join("tsconfig.json"));
    let out = project.target.join("doc/npm");
    let entries =
        ["index", "raw", "console", "v3"].map(|name| project.root.join(format!("pkg/dist/{name}.d.ts")));
    Ok(cmd!(
        project.sh,
        "node {typedoc} --options {options} --tsconfig {tsconfig} --out {out} --logLevel Warn {entries...}"
    )
    .run()?)
}
