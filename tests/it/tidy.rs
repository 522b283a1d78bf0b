//! What a compiler does not check: who may know whom.

use std::fs;
use std::path::{Path, PathBuf};

use wasm_bindgen_test::wasm_bindgen_test;

/// The files that know neither a host nor anything that drives them.
const CORE: &[&str] = &[
    "config.rs",
    "error.rs",
    "exporter.rs",
    "flush.rs",
    "health.rs",
    "id.rs",
    "lane.rs",
    "lease.rs",
    "lock.rs",
    "observation.rs",
    "open.rs",
    "queue.rs",
    "report.rs",
    "retry.rs",
    "sampling.rs",
    "state.rs",
    "table.rs",
    "time.rs",
    "wire/mod.rs",
    "wire/otlp.rs",
    "wire/protobuf.rs",
    "wire/score.rs",
];

/// What stands between the core and the drivers.
const ABOVE_THE_CORE: &[&str] = &[
    "__private.rs",
    "client.rs",
    "context.rs",
    "describe.rs",
    "lib.rs",
    "llm/chunks.rs",
    "llm/handler.rs",
    "llm/mod.rs",
    "llm/shapes.rs",
    "llm/stream.rs",
    "llm/traced.rs",
    "observability/flush.rs",
    "observability/mod.rs",
    "observability/status.rs",
    "observed.rs",
    "panics.rs",
    "plain.rs",
    "process_wide.rs",
    "propagate.rs",
    "recording.rs",
    "score.rs",
    "stream.rs",
    "workflow.rs",
];

/// What the core never names.
const FORBIDDEN_IN_CORE: [&str; 27] = [
    "crate::client",
    "crate::context",
    "crate::describe",
    "crate::llm",
    "crate::native",
    "crate::observability",
    "crate::observed",
    "crate::panics",
    "crate::platform",
    "crate::process_wide",
    "crate::propagate",
    "crate::recording",
    "crate::score",
    "crate::stream",
    "crate::wasm",
    "crate::workflow",
    "getrandom",
    "js_sys",
    "reqwest",
    "serde_json",
    "std::net",
    "std::thread",
    "tokio",
    "wasm_bindgen",
    "web_sys",
    "Instant",
    "SystemTime",
];

/// A clock, entropy and HTTP, which only `host.rs` may name.
const PLATFORM: [&str; 9] = [
    "Date::now",
    "Math::random",
    "SystemTime",
    "UNIX_EPOCH",
    "fetch",
    "getRandomValues",
    "getrandom",
    "reqwest",
    "std::time::Instant",
];

const MOST_LINES: usize = 600;

#[wasm_bindgen_test(unsupported = test)]
fn the_core_knows_no_host_and_nobody_above_it() {
    let core = |file: &Source| CORE.contains(&file.name.as_str());
    complain(lines_naming(core, &FORBIDDEN_IN_CORE, "the core must not name"));
}

#[wasm_bindgen_test(unsupported = test)]
fn every_file_is_known_to_these_rules() {
    let is_known = |name: &str| {
        CORE.contains(&name)
            || ABOVE_THE_CORE.contains(&name)
            || ["native/", "wasm/", "cli/"].iter().any(|folder| name.starts_with(folder))
    };
    let unknown = sources().into_iter().filter(|file| !is_known(&file.name));
    complain(unknown.map(|file| format!("src/{}:1: no list of tidy.rs has this file", file.name)).collect());
}

#[wasm_bindgen_test(unsupported = test)]
fn the_two_drivers_do_not_know_each_other() {
    let native = ["wasm_bindgen", "js_sys", "web_sys", "crate::wasm"];
    complain(lines_naming(|file| file.name.starts_with("native/"), &native, "native/ must not name"));
    let wasm = ["tokio", "reqwest", "getrandom", "std::thread", "crate::native"];
    complain(lines_naming(|file| file.name.starts_with("wasm/"), &wasm, "wasm/ must not name"));
}

#[wasm_bindgen_test(unsupported = test)]
fn only_a_host_file_touches_the_platform() {
    let others = |file: &Source| !file.name.ends_with("/host.rs") && !file.name.starts_with("cli/");
    complain(lines_naming(others, &PLATFORM, "only host.rs may name"));
}

#[wasm_bindgen_test(unsupported = test)]
fn only_the_table_of_contents_asks_for_the_target() {
    complain(lines_naming(
        |file| file.name != "lib.rs",
        &["target_arch", "target_os", "target_family"],
        "only lib.rs may name",
    ));
}

#[wasm_bindgen_test(unsupported = test)]
fn no_file_is_too_long_to_read() {
    let long = sources().into_iter().filter(|file| file.text.lines().count() > MOST_LINES);
    complain(
        long.map(|file| {
            format!("src/{}:{MOST_LINES}: more than {MOST_LINES} lines; find its natural walls", file.name)
        })
        .collect(),
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn the_changelog_knows_this_version_or_that_it_is_unreleased() {
    let changelog = read("CHANGELOG.md");
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        changelog.starts_with("# Unreleased") || changelog.contains(version),
        "CHANGELOG.md:1: must begin with \"# Unreleased\" or mention {version}"
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn every_document_with_rust_is_compiled() {
    let library = read("src/lib.rs");
    let documents = fs::read_dir(root().join("docs")).expect("docs can be listed");
    let names = documents.map(|entry| entry.expect("docs can be read").file_name());
    for name in names.map(|name| format!("docs/{}", name.display())).filter(|name| name.ends_with(".md")) {
        let has_rust = read(&name).contains("```rust");
        let is_compiled = library.contains(&format!("include_str!(\"../{name}\")"));
        assert_eq!(has_rust, is_compiled, "src/lib.rs: `mod documents` must have {name} when that has Rust");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn both_packages_have_the_same_license() {
    let license = env!("CARGO_PKG_LICENSE");
    assert!(!license.is_empty(), "Cargo.toml: license must not be empty");
    assert!(
        read("pkg-templates/package.json").contains(&format!("\"license\": \"{license}\"")),
        "pkg-templates/package.json: license must be {license:?} as in Cargo.toml"
    );
}

struct Source {
    /// The path within `src`, with slashes.
    name: String,
    text: String,
}

/// Every line of code, comments apart, that names one of these.
fn lines_naming(is_meant: impl Fn(&Source) -> bool, names: &[&str], rule: &str) -> Vec<String> {
    let mut found = Vec::new();
    let files: Vec<_> = sources().into_iter().filter(is_meant).collect();
    assert!(!files.is_empty(), "no file to check: {rule} …");
    for file in files {
        for (number, line) in file.text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for name in names.iter().filter(|name| contains_word(code, name)) {
                found.push(format!("src/{}:{}: {rule} {name}: {}", file.name, number + 1, line.trim()));
            }
        }
    }
    found
}

/// Whether the name stands there by itself, and not within a longer one.
fn contains_word(code: &str, name: &str) -> bool {
    let is_part_of_a_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    code.match_indices(name).any(|(at, _)| {
        let (before, after) = (&code.as_bytes()[..at], &code.as_bytes()[at + name.len()..]);
        !before.last().is_some_and(is_part_of_a_name) && !after.first().is_some_and(is_part_of_a_name)
    })
}

fn complain(violations: Vec<String>) {
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut directories = vec![src.clone()];
    let mut sources = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("src can be listed") {
            let path = entry.expect("src can be listed").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let within = path.strip_prefix(&src).expect("it is below src");
                let name = within.to_string_lossy().replace('\\', "/");
                sources.push(Source { name, text: fs::read_to_string(&path).expect("source is text") });
            }
        }
    }
    sources.sort_by(|one, other| one.name.cmp(&other.name));
    sources
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
