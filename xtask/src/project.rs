//! Where things are: the source tree, the target directory, the user's cache.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

pub(crate) struct Project {
    pub(crate) sh: Shell,
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) version: String,
}

impl Project {
    pub(crate) fn open() -> Result<Self> {
        // At run time, because a target directory that several checkouts share holds one xtask.
        let manifest_dir =
            std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&manifest_dir).parent().context("xtask has no parent directory")?;
        let sh = Shell::new()?;
        sh.change_dir(root);
        let metadata = cmd!(sh, "cargo metadata --format-version 1 --no-deps --offline").quiet().read()?;
        let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
        let target =
            metadata["target_directory"].as_str().context("cargo metadata names no target directory")?;
        let version = metadata["packages"]
            .as_array()
            .and_then(|packages| packages.iter().find(|package| package["name"] == "langfuse-edge"))
            .and_then(|package| package["version"].as_str())
            .context("cargo metadata does not list the package langfuse-edge")?;
        Ok(Self { root: root.to_owned(), target: target.into(), version: version.to_owned(), sh })
    }

    /// A program of the npm packages.
    pub(crate) fn npm_bin(&self, name: &str) -> PathBuf {
        self.root.join("node_modules/.bin").join(name)
    }

    /// The receiver and command line program, as the native dev profile builds it.
    pub(crate) fn receiver(&self) -> PathBuf {
        self.target.join("debug/langfuse-edge").with_extension(std::env::consts::EXE_EXTENSION)
    }

    pub(crate) fn build_receiver(&self) -> Result<()> {
        let sh = &self.sh;
        let target = &self.target;
        Ok(cmd!(sh, "cargo build --features cli --bin langfuse-edge --target-dir {target}").run()?)
    }
}
