//! The toolchain that builds for wasm32, and the standard library it needs for that.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use xshell::{Cmd, Shell, cmd};

use crate::progress;
use crate::project::Project;

const TARGET: &str = "wasm32-unknown-unknown";

/// Debian keeps a current Rust under these names for its web browsers, beside the old `rustc`.
const DEBIAN_PACKAGES: [&str; 5] =
    ["rustc-web", "cargo-web", "rust-web-clippy", "rust-web-src", "rust-web-llvm"];
const DEBIAN_BIN: &str = "/usr/bin";
const DEBIAN_TARGET_LIB: &str = "/usr/lib/rustlib/wasm32-unknown-unknown";
/// Names the compiler that the self-built std belongs to; another one cannot read its artifacts.
const STAMP: &str = "built-by";

/// What `cargo run` and rustup set for their children, and what another toolchain must not see.
const OUTER_TOOLCHAIN: [&str; 6] =
    ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN", "LD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The cargo on PATH, usually rustup's.
    Path,
    /// Debian's, in `/usr/bin`.
    Debian,
}

/// A Rust toolchain whose sysroot has std for wasm32.
pub(crate) struct WasmToolchain {
    origin: Origin,
    /// Artifacts of two toolchains do not load in each other, so each has its own directory.
    pub(crate) target_dir: PathBuf,
}

impl WasmToolchain {
    /// Finds the toolchain, or makes one: the cargo on PATH if rustup can give it the target,
    /// otherwise Debian's with a std that is built here once.
    pub(crate) fn find_or_install(
        project: &Project,
        lock: impl FnOnce() -> Result<std::fs::File>,
    ) -> Result<Self> {
        if let Some(found) = Self::find(project) {
            return Ok(found);
        }
        let _lock = lock()?;
        if let Some(found) = Self::find(project) {
            return Ok(found);
        }
        let sh = &project.sh;
        if cmd!(sh, "rustup --version").quiet().ignore_stdout().ignore_stderr().run().is_ok()
            && std::env::var("RUSTUP_AUTO_INSTALL").as_deref() != Ok("0")
        {
            progress("setup", "adding the wasm32 target with rustup…");
            if cmd!(sh, "rustup target add {TARGET}").run().is_ok() {
                return Self::find(project)
                    .context("rustup added the wasm32 target, but rustc does not find it");
            }
        }
        let is_root = cmd!(sh, "id -u").quiet().ignore_stderr().read().is_ok_and(|id| id == "0");
        ensure!(
            is_root && Path::new("/usr/bin/apt-get").exists(),
            "the wasm32 standard library is missing: run `rustup target add {TARGET}`, \
             or on Debian run `cargo xtask setup` as root once"
        );
        install_debian(sh).context(
            "Debian's packages gave no wasm32 standard library; `rustup target add wasm32-unknown-unknown` is the other way",
        )?;
        Self::find(project)
            .context("Debian's rustc does not find the wasm32 standard library that was built for it")
    }

    fn find(project: &Project) -> Option<Self> {
        [(Origin::Path, "wasm-path"), (Origin::Debian, "wasm-debian")]
            .map(|(origin, directory)| Self { origin, target_dir: project.target.join(directory) })
            .into_iter()
            .find(|toolchain| toolchain.has_std(&project.sh))
    }

    fn has_std(&self, sh: &Shell) -> bool {
        if self.origin == Origin::Debian && !Path::new(DEBIAN_TARGET_LIB).exists() {
            return false;
        }
        let Ok(lib) =
            self.command(sh, "rustc").args(["--print", "target-libdir", "--target", TARGET]).quiet().read()
        else {
            return false;
        };
        let lib = PathBuf::from(lib);
        let stamp = lib.with_file_name(STAMP);
        let current = !stamp.exists()
            || sh.read_file(stamp).ok() == self.command(sh, "rustc").arg("-vV").quiet().read().ok();
        current && lib.exists()
    }

    /// `cargo …` of this toolchain, building into its own target directory.
    pub(crate) fn cargo<'a>(&self, sh: &'a Shell) -> Cmd<'a> {
        self.command(sh, "cargo")
    }

    /// `cargo clippy …` of this toolchain. Asked for a subcommand, cargo looks in `~/.cargo/bin`
    /// first and would find rustup's.
    pub(crate) fn clippy<'a>(&self, sh: &'a Shell) -> Cmd<'a> {
        match self.origin {
            Origin::Path => self.cargo(sh).arg("clippy"),
            Origin::Debian => self
                .command(sh, "cargo-clippy")
                .env("CARGO", Path::new(DEBIAN_BIN).join("cargo"))
                .arg("clippy"),
        }
    }

    /// `program`, which looks cargo and rustc up on PATH by itself.
    pub(crate) fn program<'a>(
        &self,
        sh: &'a Shell,
        program: &Path,
        more_path: &[PathBuf],
    ) -> Result<Cmd<'a>> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let first = (self.origin == Origin::Debian).then(|| PathBuf::from(DEBIAN_BIN));
        let all = first.into_iter().chain(more_path.iter().cloned()).chain(std::env::split_paths(&path));
        Ok(self.environment(sh.cmd(program)).env("PATH", std::env::join_paths(all)?))
    }

    fn command<'a>(&self, sh: &'a Shell, name: &str) -> Cmd<'a> {
        self.environment(match self.origin {
            Origin::Path => sh.cmd(name),
            Origin::Debian => sh.cmd(Path::new(DEBIAN_BIN).join(name)),
        })
    }

    fn environment<'a>(&self, command: Cmd<'a>) -> Cmd<'a> {
        let command = command.env("CARGO_TARGET_DIR", &self.target_dir);
        match self.origin {
            Origin::Path => command,
            Origin::Debian => OUTER_TOOLCHAIN
                .iter()
                .fold(command, |command, name| command.env_remove(name))
                .env("RUSTC", Path::new(DEBIAN_BIN).join("rustc"))
                .env("RUSTDOC", Path::new(DEBIAN_BIN).join("rustdoc")),
        }
    }
}

/// Installs Debian's toolchain and builds std for wasm32 with it.
fn install_debian(sh: &Shell) -> Result<()> {
    progress("setup", "installing Debian's Rust for wasm32…");
    apt_install(sh, &DEBIAN_PACKAGES)?;
    // rust-lld is a link to an lld of the LLVM in use, in a package that is only recommended.
    let lld = std::fs::read_link("/usr/bin/rust-lld").context("rust-web-llvm has no /usr/bin/rust-lld")?;
    apt_install(sh, &[&lld.to_string_lossy()])?;

    progress("setup", "building std for wasm32 with Debian's toolchain (about a minute)…");
    let scratch = sh.create_temp_dir()?;
    let toolchain = WasmToolchain { origin: Origin::Debian, target_dir: scratch.path().join("target") };
    let manifest = scratch.path().join("Cargo.toml");
    sh.write_file(
        &manifest,
        "[package]\nname = \"empty\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n",
    )?;
    sh.write_file(scratch.path().join("src/lib.rs"), "")?;
    toolchain
        .cargo(sh)
        .args(["build", "--quiet", "--release", "--target", TARGET, "--manifest-path"])
        .arg(&manifest)
        .args(["-Z", "build-std=std,panic_abort,panic_unwind,proc_macro,test"])
        .env("RUSTC_BOOTSTRAP", "1")
        // Without the bitcode a later `lto = true` fails.
        .env("RUSTFLAGS", "-Cembed-bitcode=yes")
        .run()?;

    // The directory appears whole or not at all, so that an interrupted setup starts anew.
    let unfinished = PathBuf::from(format!("{DEBIAN_TARGET_LIB}.unfinished"));
    sh.remove_path(&unfinished)?;
    sh.create_dir(unfinished.join("lib"))?;
    let mut copied = 0;
    for file in sh.read_dir(scratch.path().join("target").join(TARGET).join("release/deps"))? {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".rlib") && !name.starts_with("libempty-") {
            sh.copy_file(&file, unfinished.join("lib"))?;
            copied += 1;
        }
    }
    if copied == 0 {
        bail!("building std for wasm32 left no libraries");
    }
    let version = toolchain.command(sh, "rustc").arg("-vV").quiet().read()?;
    sh.write_file(unfinished.join(STAMP), version)?;
    sh.remove_path(DEBIAN_TARGET_LIB)?;
    std::fs::rename(&unfinished, DEBIAN_TARGET_LIB)?;
    Ok(())
}

/// The newest packages of these names: a machine's own list may be of the day it was made.
pub(crate) fn apt_install(sh: &Shell, packages: &[&str]) -> Result<()> {
    cmd!(sh, "apt-get update -q").run()?;
    cmd!(sh, "apt-get install -q -y --no-install-recommends {packages...}")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .run()?;
    Ok(())
}
