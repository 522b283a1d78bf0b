//! Programs that must not compile: below `tests/refusals`. A comment behind a line, `//~ words; more words`, says what the
//! compiler must complain of there, and nothing else may be wrong.

use std::collections::BTreeMap;
use std::env::current_exe;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

#[test]
fn what_must_not_compile_says_what_is_wrong_and_what_to_do() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/refusals");
    let mut programs: Vec<PathBuf> = fs::read_dir(directory)
        .expect("it is there")
        .map(|entry| entry.expect("it can be read").path())
        .collect();
    programs.sort();
    assert!(!programs.is_empty());
    for program in programs {
        let found = complaints(&program);
        let source = fs::read_to_string(&program).expect("it is text");
        let wanted: BTreeMap<u64, &str> = (1..)
            .zip(source.lines())
            .filter_map(|(number, line)| Some((number, line.split_once("//~ ")?.1)))
            .collect();
        let name = program.display();
        for (line, words) in &wanted {
            let said = found.get(line).unwrap_or_else(|| panic!("{name}:{line}: {words}: {found:#?}"));
            for words in words.split("; ") {
                assert!(said.contains(words), "{name}:{line} must say {words:?} and says\n{said}");
            }
        }
        let lines: Vec<_> = found.keys().filter(|line| !wanted.contains_key(line)).collect();
        assert!(lines.is_empty(), "{name}: also wrong: {lines:?} {found:#?}");
    }
}

/// What the compiler has against a program, by lines.
fn complaints(program: &Path) -> BTreeMap<u64, String> {
    let test = current_exe().expect("it runs");
    let dependencies = test.parent().expect("the test is built among the dependencies");
    let library = dependencies.join("liblangfuse_edge.rlib");
    let compiler = Command::new("rustc")
        .args([
            "--edition",
            "2024",
            "--crate-type",
            "bin",
            "--emit",
            "metadata",
            "--error-format",
            "json",
            "-o",
            "-",
        ])
        .arg("--extern")
        .arg(format!("langfuse_edge={}", library.display()))
        .arg("-L")
        .arg(format!("dependency={}", dependencies.display()))
        .arg(program)
        .output()
        .expect("there is a compiler");
    let mut complaints = BTreeMap::<u64, String>::new();
    for line in String::from_utf8_lossy(&compiler.stderr).lines() {
        let message: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        if message["level"] == "error"
            && let Some(place) = message["spans"].as_array().and_then(|spans| spans.first())
        {
            let said =
                complaints.entry(place["line_start"].as_u64().expect("lines have numbers")).or_default();
            let notes = message["children"].as_array().into_iter().flatten();
            for words in [&message].into_iter().chain(notes) {
                said.push_str(words["message"].as_str().unwrap_or_default());
                said.push('\n');
            }
        }
    }
    complaints
}
