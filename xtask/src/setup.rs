//! `cargo xtask setup`: everything that building needs beyond Rust and Node.js.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use xshell::cmd;

use crate::project::Project;
use crate::wasm_std::{self, WasmToolchain};
use crate::{progress, timed};

const WASM_PACK_VERSION: &str = "0.15.0";
const OLDEST_NODE: u32 = 20;

pub(crate) struct Tools {
    pub(crate) wasm: WasmToolchain,
    /// Directories with the programs `wasm-bindgen`, `wasm-bindgen-test-runner` and `wasm-pack`.
    pub(crate) wasm_bindgen: PathBuf,
    pub(crate) wasm_pack: PathBuf,
}

pub(crate) fn run(project: &Project) -> Result<Tools> {
    check_node(project)?;
    let cache = Cache::open()?;
    let wasm = WasmToolchain::find_or_install(project, || cache.lock())?;
    // `--locked` asks for a crate version of 0.2.130 that is not served.
    let wasm_bindgen =
        cache.cargo_install(project, "wasm-bindgen-cli", &wasm_bindgen_version(project)?, &[])?;
    let wasm_pack = cache.cargo_install(project, "wasm-pack", WASM_PACK_VERSION, &["--locked"])?;
    npm_ci(project)?;
    Ok(Tools { wasm, wasm_bindgen, wasm_pack })
}

/// What the npm package is tried on. It is large, so only who needs it installs it.
pub(crate) struct Runtimes {
    /// The `node_modules` of `tests/runtimes`.
    pub(crate) modules: PathBuf,
    pub(crate) chromium: String,
}

pub(crate) fn runtimes(project: &Project) -> Result<Runtimes> {
    let cache = Cache::open()?;
    let modules = runtime_modules(project)?;
    if let Some(chromium) = find_chromium(project) {
        return Ok(Runtimes { modules, chromium });
    }
    let _lock = cache.lock()?;
    if find_chromium(project).is_none() {
        progress("setup", "installing Debian's Chromium…");
        wasm_std::apt_install(&project.sh, &["chromium"])
            .context("no `chromium` or `google-chrome` is on PATH: install one of them")?;
    }
    let chromium = find_chromium(project).context("Debian's package chromium has no program of that name")?;
    Ok(Runtimes { modules, chromium })
}

/// The program that writes the reference of the npm package.
pub(crate) fn typedoc(project: &Project) -> Result<PathBuf> {
    let modules = Cache::open()?.npm_install(project, "typedoc", &project.root.join("xtask/typedoc"))?;
    Ok(modules.join("typedoc/bin/typedoc"))
}

/// What the bench measures us beside, where its programs find it.
pub(crate) fn bench_peers(project: &Project) -> Result<()> {
    let folder = project.root.join("tests/bench/node");
    let modules = Cache::open()?.npm_install(project, "bench", &folder)?;
    let link = folder.join("node_modules");
    if link.is_symlink() {
        std::fs::remove_file(&link)?;
    }
    std::os::unix::fs::symlink(&modules, &link).with_context(|| format!("cannot link {}", link.display()))
}

/// The `node_modules` of `tests/runtimes`.
pub(crate) fn runtime_modules(project: &Project) -> Result<PathBuf> {
    Cache::open()?.npm_install(project, "runtimes", &project.root.join("tests/runtimes"))
}

fn find_chromium(project: &Project) -> Option<String> {
    ["chromium", "google-chrome"].into_iter().find_map(|name| {
        cmd!(project.sh, "which {name}").quiet().ignore_stderr().read().ok().filter(|path| !path.is_empty())
    })
}

fn check_node(project: &Project) -> Result<()> {
    let sh = &project.sh;
    let version = cmd!(sh, "node --version").quiet().ignore_stderr().read().unwrap_or_default();
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    ensure!(
        major.is_some_and(|major| major >= OLDEST_NODE),
        "Node.js {OLDEST_NODE} or later is needed, and {}: install it from nodejs.org or your system's packages",
        if version.is_empty() { "no `node` is on PATH".to_owned() } else { format!("`node` is {version}") }
    );
    Ok(())
}

/// The version that the code is compiled against; the generator of the glue must be of the same.
fn wasm_bindgen_version(project: &Project) -> Result<String> {
    let lock = project.sh.read_file(project.root.join("Cargo.lock"))?;
    let (_, after) = lock
        .split_once("\nname = \"wasm-bindgen\"\nversion = \"")
        .context("Cargo.lock has no wasm-bindgen: the library must depend on it")?;
    let (version, _) =
        after.split_once('"').context("the version of wasm-bindgen in Cargo.lock has no end")?;
    Ok(version.to_owned())
}

/// Installs exactly what the lock file says, when it changed or nothing is there yet.
fn npm_ci(project: &Project) -> Result<()> {
    let sh = &project.sh;
    let lock = sh.read_file(project.root.join("package-lock.json"))?;
    // Inside node_modules, so that it goes when that is deleted.
    let stamp = project.root.join("node_modules/.installed-lock.json");
    if sh.read_file(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    timed("setup", "installing npm packages", || {
        Ok(cmd!(sh, "npm ci --no-progress --loglevel error").run()?)
    })?;
    sh.write_file(stamp, lock)?;
    Ok(())
}

/// Programs that a fresh clone should not build again, in the user's cache folder, by version.
struct Cache {
    tools: PathBuf,
}

impl Cache {
    fn open() -> Result<Self> {
        let non_empty = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache = non_empty("XDG_CACHE_HOME")
            .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
            .context("no home directory: set HOME or XDG_CACHE_HOME")?;
        let tools = cache.join("langfuse-edge/tools");
        std::fs::create_dir_all(&tools).with_context(|| format!("cannot create {}", tools.display()))?;
        Ok(Self { tools })
    }

    /// Held while something is installed, because two checkouts may set up at the same time.
    fn lock(&self) -> Result<File> {
        let file = File::create(self.tools.join(".lock"))?;
        if file.try_lock().is_err() {
            progress("setup", "another setup is running; waiting for it…");
            file.lock()?;
        }
        Ok(file)
    }

    /// The `node_modules` of a lock file, by its content, which are installed if they are not there.
    fn npm_install(&self, project: &Project, name: &str, folder: &Path) -> Result<PathBuf> {
        let sh = &project.sh;
        let mut hasher = DefaultHasher::new();
        sh.read_file(folder.join("package-lock.json"))?.hash(&mut hasher);
        let installed = self.tools.join(format!("{name}-{:016x}", hasher.finish()));
        let modules = installed.join("node_modules");
        if modules.exists() {
            return Ok(modules);
        }
        let _lock = self.lock()?;
        if modules.exists() {
            return Ok(modules);
        }
        let unfinished = installed.with_extension("unfinished");
        timed("setup", &format!("installing {name} from npm (about a minute)"), || {
            remove(&unfinished)?;
            sh.create_dir(&unfinished)?;
            for file in [".npmrc", "package.json", "package-lock.json"] {
                sh.copy_file(folder.join(file), unfinished.join(file))?;
            }
            let _inside = sh.push_dir(&unfinished);
            // Not `npm ci`, which wants to know the binaries for all systems, and some registries have not got all.
            cmd!(sh, "npm install --no-progress --loglevel error").run()?;
            Ok(std::fs::rename(&unfinished, &installed)?)
        })?;
        Ok(modules)
    }

    /// The directory with the programs of a crate, which is built if it is not there.
    fn cargo_install(
        &self,
        project: &Project,
        name: &str,
        version: &str,
        options: &[&str],
    ) -> Result<PathBuf> {
        let installed = self.tools.join(format!("{name}-{version}"));
        let bin = installed.join("bin");
        if bin.exists() {
            return Ok(bin);
        }
        let _lock = self.lock()?;
        if bin.exists() {
            return Ok(bin);
        }
        let unfinished = self.tools.join(format!("{name}-{version}.unfinished"));
        let build = self.tools.join("build");
        let sh = &project.sh;
        timed("setup", &format!("building {name} {version} (about two minutes)"), || {
            remove(&unfinished)?;
            cmd!(sh, "cargo install {name} --version ={version} --quiet {options...} --root {unfinished} --target-dir {build}")
                .run()?;
            remove(&build)?;
            // Only a finished installation gets the final name.
            Ok(std::fs::rename(&unfinished, &installed)?)
        })?;
        Ok(bin)
    }
}

fn remove(directory: &Path) -> Result<()> {
    if directory.exists() {
        std::fs::remove_dir_all(directory)
            .with_context(|| format!("cannot delete {}", directory.display()))?;
    }
    Ok(())
}
