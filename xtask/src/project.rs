//! Where things are: the source tree, the target directory, the user's cache.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

pub(crate) struct Project {
    pub(crate) sh: Shell,
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) version: String,
    /// The arguments of wasm-opt; features are named one by one, because `--all-features`
    /// makes modules that hosts do not load.
    pub(crate) wasm_opt: Vec<String>,
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
        let package = metadata["packages"]
            .as_array()
            .and_then(|packages| packages.iter().find(|package| package["name"] == "langfuse-edge"))
            .context("cargo metadata does not list the package langfuse-edge")?;
        let version = package["version"].as_str().context("the package has no version")?;
        let wasm_opt = package["metadata"]["wasm-pack"]["profile"]["release"]["wasm-opt"].as_array();
        Ok(Self {
            root: root.to_owned(),
            target: target.into(),
            version: version.to_owned(),
            wasm_opt: wasm_opt
                .into_iter()
                .flatten()
                .filter_map(|flag| flag.as_str())
                .map(str::to_owned)
                .collect(),
            sh,
        })
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
        Ok(cmd!(sh, "cargo build --features cli,macros,tracing --bin langfuse-edge --target-dir {target}")
            .run()?)
    }
}
