//! `cargo xtask public-api`: what the crate offers to Rust programs, beside the list that is committed.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use public_api::Builder;
use xshell::cmd;

use crate::progress;
use crate::project::Project;

const LIST: &str = "tests/public-api.txt";
/// The Rust whose rustdoc writes what the crate `public-api` of this version reads.
const RUST: &str = "1.95";

/// Fails when anything was added, changed or removed that the list does not say.
pub(crate) fn check(project: &Project) -> Result<()> {
    let Some(items) = list(project)? else { return Ok(()) };
    let known = project.sh.read_file(project.root.join(LIST))?;
    let (known, items): (BTreeSet<_>, BTreeSet<_>) =
        (known.lines().collect(), items.iter().map(String::as_str).collect());
    let removed = known.difference(&items).map(|line| format!("\n- {line}"));
    let changes = removed.chain(items.difference(&known).map(|line| format!("\n+ {line}")));
    let changes = changes.collect::<String>();
    ensure!(
        changes.is_empty(),
        "the public API is not what {LIST} says:{changes}\nif that is meant, write it down with `cargo xtask public-api --bless`"
    );
    progress("public-api", format_args!("{} items, as {LIST} says", items.len()));
    Ok(())
}

/// Writes the list.
pub(crate) fn bless(project: &Project) -> Result<()> {
    let items = list(project)?.with_context(|| format!("the list is made with Rust {RUST}"))?;
    Ok(project.sh.write_file(project.root.join(LIST), items.join("\n") + "\n")?)
}

/// The public items, one a line; none when this Rust's rustdoc writes another format.
fn list(project: &Project) -> Result<Option<Vec<String>>> {
    let sh = &project.sh;
    let rustc = cmd!(sh, "rustc --version").quiet().read()?;
    if !rustc.starts_with(&format!("rustc {RUST}.")) {
        progress(
            "public-api",
            format_args!("not looked at: {LIST} is made with Rust {RUST}, this is {rustc}"),
        );
        return Ok(None);
    }
    let target = &project.target;
    // Only rustdoc is told to take unstable flags: for cargo, everything would be built anew.
    let rustdoc = project.root.join("xtask/unstable-rustdoc");
    cmd!(
        sh,
        "cargo rustdoc --package langfuse-edge --lib --features macros,tracing --target-dir {target} -- -Z unstable-options --output-format json"
    )
    .env("RUSTDOC", rustdoc)
    .run()?;
    let json: PathBuf = target.join("doc/langfuse_edge.json");
    let api = Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()?;
    Ok(Some(api.items().map(ToString::to_string).collect()))
}
