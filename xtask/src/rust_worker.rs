//! `examples/rust-worker`, as `worker-build` makes a Worker of it.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use xshell::cmd;

use crate::project::Project;
use crate::setup::Tools;

const ENTRY: &str = "import { fetch } from \"./rust_worker.js\";\n\nexport default { fetch };\n";

/// Where the Worker is, with its entry `index.js`.
pub(crate) fn dir(project: &Project) -> PathBuf {
    project.target.join("rust-worker-example")
}

pub(crate) fn build(project: &Project, tools: &Tools) -> Result<()> {
    let sh = &project.sh;
    let example = project.root.join("examples/rust-worker");
    // The versions of this repository, without a second lock file to keep.
    sh.copy_file(project.root.join("Cargo.lock"), &example)?;
    let manifest = example.join("Cargo.toml");
    let target = ["--target", "wasm32-unknown-unknown"];
    tools.wasm.cargo(sh).args(["build", "--manifest-path"]).arg(manifest).args(target).run()?;
    let built = tools.wasm.target_dir.join("wasm32-unknown-unknown/debug/rust_worker_example.wasm");
    let wasm_bindgen = tools.wasm_bindgen.join("wasm-bindgen");
    let out = dir(project);
    cmd!(sh, "{wasm_bindgen} {built} --target module --out-name rust_worker --out-dir {out}").run()?;
    // Source phase imports are what workerd does by itself with wasm.
    let glue = out.join("rust_worker.js");
    let text = sh.read_file(&glue)?;
    ensure!(
        text.contains("import source "),
        "wasm-bindgen's glue has no source phase import: did it change?"
    );
    sh.write_file(glue, text.replace("import source ", "import "))?;
    Ok(sh.write_file(out.join("index.js"), ENTRY)?)
}
