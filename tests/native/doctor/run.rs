//! Runs the doctor twice, for people and for programs, and reads what it has found.

use std::process::{Command, Output};

use serde_json::Value;

use crate::receiver::Receiver;

/// In the order in which they are made.
const CHECKS: [&str; 11] = [
    "environment",
    "dns",
    "connect",
    "tls",
    "server",
    "keys",
    "clock",
    "trace",
    "read-back",
    "score",
    "limits",
];

pub(super) struct Doctor {
    env: Vec<(String, String)>,
    arguments: Vec<String>,
}

pub(super) struct Found {
    pub(super) text: String,
    pub(super) json: Value,
    pub(super) code: Option<i32>,
}

impl Doctor {
    pub(super) fn of(receiver: &Receiver) -> Self {
        Self::at(&receiver.url)
    }

    pub(super) fn at(url: &str) -> Self {
        let env = [
            ("LANGFUSE_PUBLIC_KEY", "pk-lf-dev"),
            ("LANGFUSE_SECRET_KEY", "sk-lf-dev"),
            ("LANGFUSE_BASE_URL", url),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Self { env, arguments: vec!["doctor".to_owned()] }
    }

    /// The last of a name counts.
    pub(super) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_langfuse-edge"));
        for (name, _) in std::env::vars() {
            let lower = name.to_ascii_lowercase();
            if lower.starts_with("langfuse") || lower.ends_with("_proxy") {
                command.env_remove(name);
            }
        }
        command.args(&self.arguments).envs(self.env.clone());
        command
    }

    pub(super) fn run(&self) -> Output {
        self.command().output().expect("it runs")
    }

    /// For people and for programs, which are told the same.
    pub(super) fn examine(self) -> Found {
        let Output { status, stdout, stderr } = self.run();
        assert!(stderr.is_empty(), "{}", String::from_utf8_lossy(&stderr));
        let text = String::from_utf8(stdout).expect("it is text");
        let in_json = self.arguments(&["--json"]).run();
        assert_eq!(in_json.status.code(), status.code(), "{text}");
        let json = serde_json::from_slice(&in_json.stdout).expect("it is JSON");
        let found = Found { text, json, code: status.code() };
        found.is_told_alike();
        found
    }
}

impl Found {
    /// But for times and ids, which are others in another run.
    fn is_told_alike(&self) {
        for check in CHECKS {
            let is_of = |line: &&str| line.split_whitespace().nth(1) == Some(check);
            let line = self.text.lines().find(is_of).unwrap_or_else(|| panic!("{check}: {}", self.text));
            let reason = self.check(check)["reason"].as_str().unwrap_or_default();
            let (line, reason) = (without_numbers(line), without_numbers(reason));
            assert!(!reason.is_empty() && line.ends_with(&reason), "{line} ends with {reason}");
        }
    }

    /// The marks of all checks.
    pub(super) fn is(&self, marks: &str) {
        assert_eq!(self.marks(), marks, "{}", self.text);
        let checks = self.json["checks"].as_array().expect("there are checks");
        let names: Vec<_> = checks.iter().map(|check| check["check"].as_str().unwrap_or_default()).collect();
        assert_eq!(names, CHECKS);
        let in_json = checks.iter().map(|check| match check["status"].as_str() {
            Some("ok") => '✓',
            Some("failed") => '✗',
            Some("not_run") => '–',
            _ => '?',
        });
        assert_eq!(in_json.collect::<String>(), marks, "{}", self.json);
    }

    pub(super) fn marks(&self) -> String {
        let first = self.text.lines().filter_map(|line| line.chars().next());
        first.filter(|c| ['✓', '✗', '–'].contains(c)).collect()
    }

    pub(super) fn says(&self, check: &str, words: &str) {
        let reason = self.check(check)["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(words), "{check} says {words:?}: {}", self.json);
    }

    pub(super) fn advises(&self, check: &str, words: &str) {
        let fix = self.check(check)["fix"].as_str().unwrap_or_default();
        assert!(fix.contains(words), "{check} advises {words:?}: {}", self.json);
        assert!(self.text.contains(&format!("→ {fix}")), "{}", self.text);
    }

    pub(super) fn check(&self, name: &str) -> &Value {
        let mut checks = self.json["checks"].as_array().into_iter().flatten();
        checks.find(|check| check["check"] == name).unwrap_or_else(|| panic!("{name}: {}", self.json))
    }

    pub(super) fn variable(&self, name: &str) -> (&str, &str) {
        let mut variables = self.json["variables"].as_array().into_iter().flatten();
        let variable = variables.find(|variable| variable["name"] == name);
        let variable = variable.unwrap_or_else(|| panic!("{name}: {}", self.json));
        (variable["state"].as_str().unwrap_or_default(), variable["note"].as_str().unwrap_or_default())
    }
}

fn without_numbers(text: &str) -> String {
    let parts: Vec<_> = text.split(|c: char| c.is_ascii_hexdigit()).filter(|part| !part.is_empty()).collect();
    parts.join("#")
}
