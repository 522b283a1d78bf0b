//! Takes out of a wasm module what only puts the words of a panic together, and other code that nothing calls.
//!
//! A panic of ours traps, and wasm has no standard error: nobody reads the message. The standard library formats it all
//! the same, with the name of the source file, and that is a tenth of the module. The compiler's own switch for this,
//! `panic = "immediate-abort"`, is unstable.

use anyhow::{Context, Result, ensure};

use crate::wasm_module::{Reader, rewrite, sections, write_length};

const CUSTOM: u8 = 0;
const IMPORT: u8 = 2;
const CODE: u8 = 10;
const DATA: u8 = 11;

/// Parts of the names of functions of the standard library that never return, or are called by such only.
const PANICS: [&str; 8] = [
    "panicking::",
    "::panic_",
    "_fail",
    "_failed",
    "handle_error",
    "handle_alloc_error",
    "capacity_overflow",
    "rust_begin_unwind",
];

/// What panics of the standard library say, and what wasm-bindgen throws in the place of one, which the TypeScript layer takes
/// for a trap whatever it says. A sentence that is missing here only makes the module larger.
const WORDS: [&str; 38] = [
    "slice index starts at ",
    " but ends at ",
    "index out of bounds",
    ": the len is ",
    " but the index is ",
    "range start index ",
    "range end index ",
    " out of range for slice of length ",
    "assertion `left ",
    " right` failed",
    "cannot access a Thread Local Storage value during or after destruction: ",
    "copy_from_slice: source slice length (",
    ") does not match destination slice length (",
    "removal index (is ",
    ") should be < len (is ",
    "rwlock has not been locked for reading",
    "rwlock overflowed read locks",
    "cannot recursively acquire mutex",
    "RefCell already mutably borrowed",
    "RefCell already borrowed",
    "attempt to divide by zero",
    "attempt to join into collection with len > usize::MAX",
    "Tried to shrink to a larger capacity",
    "capacity overflow",
    "\n  left: ",
    "\n right: ",
    "==!=matches",
    "swap_remove index (is ",
    "overflow in Duration::new",
    "reentrant init",
    "mid > len",
    "panicked",
    "AccessError",
    "closure invoked recursively or after being dropped",
    "attempted to take ownership of Rust value while it was borrowed",
    "null pointer passed to rust",
    "recursive use of an object detected which would lead to unsafe aliasing in rust",
    "called `Option::unwrap_throw()` on a `None` value",
];

/// js-sys begins it at an export that wasm-bindgen takes away when nothing uses it; a table of functions keeps the rest.
const UNUSED: &str = "js_sys::futures::jspi::";

/// The module, with every panic a trap. It needs the names of its functions.
pub(crate) fn silence(module: &[u8]) -> Result<Vec<u8>> {
    let sections = sections(module)?;
    let content = |id| sections.iter().find(|(known, _)| *known == id).map(|(_, content)| *content);
    let imported = imported_functions(content(IMPORT).unwrap_or_default())?;
    let names = sections.iter().filter(|(id, _)| *id == CUSTOM).find_map(|(_, content)| {
        let mut rest = Reader(content);
        (rest.bytes().ok()? == b"name").then_some(rest)
    });
    let panics = panics(names.context("the module has no names")?)?;
    ensure!(!panics.is_empty(), "the module has no function that panics: did the names change?");

    rewrite(module, |id, content| match id {
        CODE => trap(content, |index| panics.contains(&(index + imported))).map(Some),
        DATA => forget_places(content).map(|section| Some(forget_words(section))),
        _ => Ok(None),
    })
}

fn imported_functions(section: &[u8]) -> Result<u32> {
    let mut rest = Reader(section);
    let count = rest.number()?;
    for _ in 0..count {
        rest.bytes()?;
        rest.bytes()?;
        ensure!(rest.byte()? == 0, "the module imports something else than functions");
        rest.number()?;
    }
    Ok(count)
}

/// The indices of the functions of [`PANICS`].
fn panics(mut names: Reader<'_>) -> Result<Vec<u32>> {
    const FUNCTIONS: u8 = 1;
    let mut panics = Vec::new();
    while !names.0.is_empty() {
        let (id, content) = (names.byte()?, names.bytes()?);
        if id == FUNCTIONS {
            let mut rest = Reader(content);
            for _ in 0..rest.number()? {
                let (index, name) = (rest.number()?, rest.bytes()?);
                if is_panic(&String::from_utf8_lossy(name)) {
                    panics.push(index);
                }
            }
        }
    }
    Ok(panics)
}

fn is_panic(name: &str) -> bool {
    // `core[12f8]::panicking::panic_fmt`, `<std[465a]::panicking::…`, `__rustc[b1da]::rust_begin_unwind`, and without
    // the brackets when a compiler mangles names in the old way.
    let library = name.trim_start_matches('<').split(['[', ':']).next().unwrap_or_default();
    let is_std = ["core", "alloc", "std", "__rustc"].contains(&library) && !name.contains("langfuse_edge");
    is_std && PANICS.iter().any(|panic| name.contains(panic)) || name.contains(UNUSED)
}

fn trap(section: &[u8], is_panic: impl Fn(u32) -> bool) -> Result<Vec<u8>> {
    /// No locals, `unreachable`, `end`.
    const TRAP: [u8; 3] = [0, 0x00, 0x0b];
    let mut rest = Reader(section);
    let count = rest.number()?;
    let mut out = Vec::with_capacity(section.len());
    write_length(&mut out, count as usize);
    for index in 0..count {
        let body = rest.bytes()?;
        let body = if is_panic(index) { &TRAP } else { body };
        write_length(&mut out, body.len());
        out.extend(body);
    }
    Ok(out)
}

/// Fills with zeros each `core::panic::Location`, which is the address and length of a file name, a line and a column,
/// and the file name.
fn forget_places(section: &[u8]) -> Result<Vec<u8>> {
    let segments = segments(section)?;
    let mut out = section.to_vec();
    let place_of = |address: u32, len: usize| {
        segments.iter().find_map(|segment| {
            let offset = address.checked_sub(segment.address)? as usize;
            (offset + len <= segment.len).then_some(segment.at + offset)
        })
    };
    for segment in &segments {
        for at in segment.at..segment.at + segment.len.saturating_sub(15) {
            let [address, len, line, column] = [0, 4, 8, 12]
                .map(|word| u32::from_le_bytes([0, 1, 2, 3].map(|byte| section[at + word + byte])));
            if !(1..100_000).contains(&line) || !(1..1000).contains(&column) || len > 300 {
                continue;
            }
            let Some(file) = place_of(address, len as usize) else { continue };
            let file = file..file + len as usize;
            let name = &section[file.clone()];
            if name.ends_with(b".rs") && name.iter().all(u8::is_ascii_graphic) {
                out[at..at + 16].fill(0);
                out[file].fill(0);
            }
        }
    }
    Ok(out)
}

fn forget_words(mut section: Vec<u8>) -> Vec<u8> {
    for words in WORDS.map(str::as_bytes) {
        let mut from = 0;
        while let Some(at) = section[from..].windows(words.len()).position(|window| window == words) {
            section[from + at..][..words.len()].fill(0);
            from += at + words.len();
        }
    }
    section
}

struct Segment {
    /// In the section.
    at: usize,
    len: usize,
    /// In the memory.
    address: u32,
}

fn segments(section: &[u8]) -> Result<Vec<Segment>> {
    const ACTIVE: u32 = 0;
    const I32_CONST: u8 = 0x41;
    const END: u8 = 0x0b;
    let mut rest = Reader(section);
    let mut segments = Vec::new();
    for _ in 0..rest.number()? {
        ensure!(rest.number()? == ACTIVE && rest.byte()? == I32_CONST, "a data segment has no fixed address");
        let address = rest.number()?;
        ensure!(rest.byte()? == END, "a data segment has no fixed address");
        let bytes = rest.bytes()?;
        let at = section.len() - rest.0.len() - bytes.len();
        segments.push(Segment { at, len: bytes.len(), address });
    }
    Ok(segments)
}
