//! The sections of a wasm module, to read and to write anew.

use anyhow::{Context, Result, ensure};

pub(crate) fn sections(module: &[u8]) -> Result<Vec<(u8, &[u8])>> {
    ensure!(module.starts_with(b"\0asm\x01\0\0\0"), "not a wasm module");
    let mut rest = Reader(&module[8..]);
    let mut sections = Vec::new();
    while !rest.0.is_empty() {
        sections.push((rest.byte()?, rest.bytes()?));
    }
    Ok(sections)
}

/// The module with what `change` makes of each section; what it makes nothing of stays as it is.
pub(crate) fn rewrite(
    module: &[u8],
    change: impl Fn(u8, &[u8]) -> Result<Option<Vec<u8>>>,
) -> Result<Vec<u8>> {
    let sections = sections(module)?;
    let mut out = module[..8].to_vec();
    for (id, content) in sections {
        let changed = change(id, content)?;
        let content = changed.as_deref().unwrap_or(content);
        out.push(id);
        write_length(&mut out, content.len());
        out.extend(content);
    }
    Ok(out)
}

pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn byte(&mut self) -> Result<u8> {
        let (&first, rest) = self.0.split_first().context("the module ends too early")?;
        self.0 = rest;
        Ok(first)
    }

    /// LEB128.
    pub(crate) fn number(&mut self) -> Result<u32> {
        let mut number = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            number |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        anyhow::bail!("a number in the module is too long")
    }

    /// Bytes after their length.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8]> {
        let len = self.number()? as usize;
        let (bytes, rest) = self.0.split_at_checked(len).context("the module ends too early")?;
        self.0 = rest;
        Ok(bytes)
    }
}

pub(crate) fn write_length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}
