//! `cargo xtask dist`: the npm package, in `pkg/`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use xshell::{Shell, cmd};

use crate::glue::replace_once;
use crate::project::Project;
use crate::setup::Tools;
use crate::{exports, glue, panics, progress, timed};

/// gzip -9 of the JavaScript and the wasm of a Worker that makes one trace, in bytes.
const MINIMAL_WORKER_BUDGET: usize = 40_000;

pub(crate) fn run(project: &Project, tools: &Tools) -> Result<()> {
    build(project, tools)?;
    sizes(project)
}

pub(crate) fn build(project: &Project, tools: &Tools) -> Result<()> {
    let sh = &project.sh;
    let pkg = project.root.join("pkg");
    let dist = pkg.join("dist");
    let wasm = timed("dist", "compiling the core to wasm", || compile(project, tools))?;
    sh.remove_path(&pkg)?;
    timed("dist", "generating the JavaScript glue", || generate_glue(sh, tools, &wasm, &dist))?;
    timed("dist", "optimizing the wasm", || optimize(project, &dist))?;
    timed("dist", "compiling the TypeScript layer", || typescript(project, &dist))?;
    timed("dist", "writing the package", || package(project, &pkg))?;
    timed("dist", "checking the package", || {
        let publint = project.npm_bin("publint");
        Ok(cmd!(sh, "{publint} {pkg} --strict").quiet().run()?)
    })?;
    link(project)
}

/// What somebody gets who runs `wasm-pack build` in this repository by hand.
pub(crate) fn bare_package(project: &Project, tools: &Tools) -> Result<()> {
    let npm_bin = project.root.join("node_modules/.bin");
    tools
        .wasm
        .program(&project.sh, &tools.wasm_pack.join("wasm-pack"), &[tools.wasm_bindgen.clone(), npm_bin])?
        .args(["build", "--mode", "no-install", "--target", "nodejs", "--release", "--out-dir"])
        .arg(bare_package_dir(project))
        .run()?;
    Ok(())
}

pub(crate) fn bare_package_dir(project: &Project) -> PathBuf {
    project.target.join("bare-package")
}

fn compile(project: &Project, tools: &Tools) -> Result<PathBuf> {
    let cargo = tools.wasm.cargo(&project.sh).arg("build");
    cargo.args(["--release", "--lib", "--target", "wasm32-unknown-unknown"]).run()?;
    Ok(tools.wasm.target_dir.join("wasm32-unknown-unknown/release/langfuse_edge.wasm"))
}

fn generate_glue(sh: &Shell, tools: &Tools, wasm: &Path, dist: &Path) -> Result<()> {
    let wasm_bindgen = tools.wasm_bindgen.join("wasm-bindgen");
    cmd!(sh, "{wasm_bindgen} {wasm} --target module --experimental-reset-state-function --out-name core --out-dir {dist}")
        .quiet()
        .run()?;
    let core = dist.join("core.js");
    sh.write_file(&core, glue::adapted(&sh.read_file(&core)?)?)?;
    sh.remove_path(dist.join("core_bg.wasm.d.ts"))?;
    let types = dist.join("core.d.ts");
    Ok(sh.write_file(&types, glue::adapted_types(&sh.read_file(&types)?)?)?)
}

/// Without the words of panics, with the flags of Cargo.toml, which `wasm-pack build` uses as well, and with short
/// names between the wasm and its glue: the long ones end in hashes, which do not compress.
fn optimize(project: &Project, dist: &Path) -> Result<()> {
    let sh = &project.sh;
    let wasm_opt = project.npm_bin("wasm-opt");
    let flags = &project.wasm_opt;
    ensure!(
        !flags.is_empty(),
        "Cargo.toml has no [package.metadata.wasm-pack.profile.release] wasm-opt = [flags]"
    );
    let wasm = dist.join("core_bg.wasm");
    let core = dist.join("core.js");
    let mut glue = sh.read_file(&core)?;
    let silent = panics::silence(&sh.read_binary_file(&wasm)?)?;
    sh.write_file(&wasm, exports::without(&silent, |name| !uses(&glue, name))?)?;
    let names = cmd!(sh, "{wasm_opt} {flags...} --minify-imports-and-exports-and-modules {wasm} -o {wasm}")
        .quiet()
        .read()?;
    let names: Names = serde_json::from_str(&names).context("wasm-opt printed no names")?;
    glue = replace_once(&glue, "\"./core_bg.js\": ", "\"a\": ")?;
    for (_, long, short) in &names.imports {
        glue = replace_once(&glue, &format!("{long}: "), &format!("{short}: "))?;
    }
    let mut exports = names.exports;
    // A name may begin another.
    exports.sort_by_key(|(long, _)| std::cmp::Reverse(long.len()));
    for (long, short) in &exports {
        for end in AFTER_EXPORT {
            glue = glue.replace(&format!("wasm.{long}{end}"), &format!("wasm.{short}{end}"));
        }
        ensure!(!glue.contains(&format!("wasm.{long}")), "core.js still uses the export {long}");
    }
    sh.write_file(&core, glue::without_unused_functions(&glue))?;
    Ok(())
}

/// Not `wasm.langfuse_end` in `wasm.langfuse_endAll`: an export that is called or read is followed by one of these.
const AFTER_EXPORT: [char; 5] = ['(', '.', ',', ')', ';'];

fn uses(glue: &str, export: &str) -> bool {
    AFTER_EXPORT.iter().any(|end| glue.contains(&format!("wasm.{export}{end}")))
}

#[derive(serde::Deserialize)]
struct Names {
    /// Module, long name, short name.
    imports: Vec<(String, String, String)>,
    /// Long name, short name.
    exports: Vec<(String, String)>,
}

fn typescript(project: &Project, dist: &Path) -> Result<()> {
    let sh = &project.sh;
    let tsc = project.npm_bin("tsc");
    let tsconfig = project.root.join("pkg-templates/tsconfig.json");
    cmd!(sh, "{tsc} --project {tsconfig} --outDir {dist}").quiet().run()?;
    // `require` gets the same types, in a folder where they count as CommonJS.
    let cjs = dist.join("cjs");
    sh.create_dir(&cjs)?;
    for file in sh.read_dir(dist)? {
        if file.to_string_lossy().ends_with(".d.ts") {
            sh.copy_file(&file, &cjs)?;
        }
    }
    sh.write_file(cjs.join("package.json"), "{ \"type\": \"commonjs\" }\n")?;
    Ok(())
}

fn package(project: &Project, pkg: &Path) -> Result<()> {
    let sh = &project.sh;
    let dist = pkg.join("dist");
    let templates = project.root.join("pkg-templates");
    let manifest = sh.read_file(templates.join("package.json"))?;
    ensure!(
        manifest.contains("\"version\": \"0.0.0\""),
        "pkg-templates/package.json has no version 0.0.0 to replace"
    );
    sh.write_file(pkg.join("package.json"), manifest.replacen("0.0.0", &project.version, 1))?;
    for name in ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"] {
        sh.copy_file(project.root.join(name), pkg)?;
    }
    for name in ["wasm-workerd.js", "wasm-edge.js", "wasm-inline.js"] {
        sh.copy_file(templates.join(name), &dist)?;
    }
    let esbuild = project.npm_bin("esbuild");
    let inline = dist.join("wasm-inline.js");
    cmd!(
        sh,
        "{esbuild} {inline} --bundle --format=esm --platform=neutral --target=es2022 --loader:.wasm=binary"
    )
    .args(["--log-level=warning", "--allow-overwrite"])
    .arg(format!("--outfile={}", inline.display()))
    .quiet()
    .run()?;
    // Half of what a process takes to start is to find fifty files.
    for (options, dir) in [
        (["--format=cjs", "--out-extension:.js=.cjs"], dist.clone()),
        (["--format=esm", "--splitting"], dist.join("node")),
    ] {
        let entries = ["index.js", "raw.js", "console.js", "v3.js"].map(|name| dist.join(name));
        cmd!(sh, "{esbuild} {entries...} {options...} --bundle --platform=node --target=node20")
            .arg("--log-level=warning")
            .arg(format!("--outdir={}", dir.display()))
            .quiet()
            .run()?;
    }
    Ok(())
}

/// Lets examples and tests import the package by its name.
fn link(project: &Project) -> Result<()> {
    let link = project.root.join("node_modules/langfuse-edge");
    if link.is_symlink() {
        std::fs::remove_file(&link)?;
    }
    std::os::unix::fs::symlink("../pkg", &link).with_context(|| format!("cannot link {}", link.display()))
}

/// What the users of a Worker that makes one trace download: gzip -9.
pub(crate) fn minimal_worker_bytes(project: &Project) -> Result<usize> {
    Ok(Download::of(project, "langfuse-edge")?.total())
}

/// What a Worker's users download, against the budget.
fn sizes(project: &Project) -> Result<()> {
    let minimal = Download::of(project, "langfuse-edge")?;
    let Size { min, gzip } = minimal.wasm;
    progress("dist", format_args!("core_bg.wasm: {min} bytes, gzip -9 {gzip}"));
    // Without a budget, because only its users pay for it.
    let v3 = Download::of(project, "langfuse-edge-v3")?;
    progress("dist", format_args!("minimal Worker of langfuse-edge/v3: {v3}"));
    progress("dist", format_args!("minimal Worker: {minimal}, budget {MINIMAL_WORKER_BUDGET}"));
    ensure!(
        minimal.total() <= MINIMAL_WORKER_BUDGET,
        "the minimal Worker is over its budget of {MINIMAL_WORKER_BUDGET} bytes"
    );
    Ok(())
}

/// What the users of a bundled Worker download, in bytes.
#[derive(serde::Deserialize)]
struct Download {
    js: Size,
    wasm: Size,
}

#[derive(serde::Deserialize)]
struct Size {
    min: usize,
    gzip: usize,
}

impl Download {
    /// As the bench measures it, beside that of the peers.
    fn of(project: &Project, worker: &str) -> Result<Self> {
        let program = project.root.join("tests/bench/node/download.mjs");
        let sizes = cmd!(project.sh, "node {program} {worker}").quiet().read()?;
        serde_json::from_str(&sizes).with_context(|| format!("not the sizes of a Worker: {sizes}"))
    }

    fn total(&self) -> usize {
        self.js.gzip + self.wasm.gzip
    }
}

impl std::fmt::Display for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { js, wasm } = self;
        write!(f, "{} bytes gzip -9 (JavaScript {}, wasm {})", self.total(), js.gzip, wasm.gzip)
    }
}
