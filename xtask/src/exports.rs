//! Exports of the wasm module that its glue does not use go, so that `wasm-opt` takes what stands behind them.

use anyhow::{Result, ensure};

use crate::wasm_module::{Reader, rewrite, write_length};

const EXPORT: u8 = 7;

/// The module without the exports that are `unused`, of which there has to be one at least.
pub(crate) fn without(module: &[u8], unused: impl Fn(&str) -> bool) -> Result<Vec<u8>> {
    rewrite(module, |id, content| if id == EXPORT { kept(content, &unused).map(Some) } else { Ok(None) })
}

fn kept(section: &[u8], unused: impl Fn(&str) -> bool) -> Result<Vec<u8>> {
    let mut rest = Reader(section);
    let all = rest.number()?;
    let mut count = 0;
    let mut exports = Vec::<u8>::new();
    for _ in 0..all {
        let before = rest.0;
        let name = std::str::from_utf8(rest.bytes()?)?;
        rest.byte()?;
        rest.number()?;
        if !unused(name) {
            count += 1;
            exports.extend(&before[..before.len() - rest.0.len()]);
        }
    }
    ensure!(count < all as usize, "the glue uses every export: this step has become needless");
    let mut out = Vec::new();
    write_length(&mut out, count);
    out.extend(exports);
    Ok(out)
}
