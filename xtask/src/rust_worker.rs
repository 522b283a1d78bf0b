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

/// The wasm of a crate that is no member of the workspace, built in a directory of its own: a file of our library has the
/// same name whatever its features and dependencies are, so in a common one it would take the place of the workspace's.
pub(crate) fn compile(project: &Project, tools: &Tools, folder: &str, wasm: &str) -> Result<PathBuf> {
    let target_dir = tools.wasm.target_dir.join("outside").join(folder);
    let folder = project.root.join(folder);
    // The versions of this repository, without a second lock file to keep.
    project.sh.copy_file(project.root.join("Cargo.lock"), &folder)?;
    let build = tools.wasm.cargo(&project.sh).args(["build", "--target", "wasm32-unknown-unknown"]);
    build.arg("--manifest-path").arg(folder.join("Cargo.toml")).arg("--target-dir").arg(&target_dir).run()?;
    Ok(target_dir.join("wasm32-unknown-unknown/debug").join(wasm))
}

pub(crate) fn build(project: &Project, tools: &Tools) -> Result<()> {
    let sh = &project.sh;
    let built = compile(project, tools, "examples/rust-worker", "rust_worker_example.wasm")?;
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
