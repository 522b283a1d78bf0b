//! What was found, for people and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::environment::Variable;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Ok,
    Failed,
    NotRun,
}

impl Status {
    fn mark(self) -> char {
        match self {
            Self::Ok => '✓',
            Self::Failed => '✗',
            Self::NotRun => '–',
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::NotRun => "not_run",
        }
    }
}

/// How a check ended, why, and what to do about it.
#[derive(Debug)]
pub(super) struct Verdict {
    status: Status,
    reason: String,
    fix: Option<String>,
}

impl Verdict {
    pub(super) fn ok(reason: impl Into<String>) -> Self {
        Self { status: Status::Ok, reason: reason.into(), fix: None }
    }

    pub(super) fn failed(reason: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { status: Status::Failed, reason: reason.into(), fix: Some(fix.into()) }
    }

    pub(super) fn not_run(reason: impl Into<String>) -> Self {
        Self { status: Status::NotRun, reason: reason.into(), fix: None }
    }

    pub(super) fn is_ok(&self) -> bool {
        self.status == Status::Ok
    }

    pub(super) fn is_failed(&self) -> bool {
        self.status == Status::Failed
    }
}

pub(super) struct Report {
    server: Option<String>,
    variables: Vec<Variable>,
    checks: Vec<(&'static str, Verdict)>,
}

impl Report {
    pub(super) fn new(server: Option<String>, variables: Vec<Variable>) -> Self {
        Self { server, variables, checks: Vec::new() }
    }

    pub(super) fn add(&mut self, check: &'static str, verdict: Verdict) {
        self.checks.push((check, verdict));
    }

    pub(super) fn skip(&mut self, checks: &[&'static str], why: &str) {
        for check in checks {
            self.add(check, Verdict::not_run(why));
        }
    }

    pub(super) fn is_ok(&self) -> bool {
        self.failures() == 0
    }

    fn failures(&self) -> usize {
        self.checks.iter().filter(|(_, verdict)| verdict.is_failed()).count()
    }

    pub(super) fn text(&self) -> String {
        let server = self.server.as_deref().unwrap_or("no server");
        let mut text = format!("langfuse-edge doctor {}: {server}\n\n", env!("CARGO_PKG_VERSION"));
        for (check, Verdict { status, reason, fix }) in &self.checks {
            // Writing into a string cannot fail.
            let _ = writeln!(text, "{} {check:<11}  {}", status.mark(), printable(reason));
            if let Some(fix) = fix {
                let _ = writeln!(text, "{:<13}  → {}", "", printable(fix));
            }
            if *check == "environment" {
                for Variable { name, state, note } in &self.variables {
                    let line = format!("    {name:<28}  {:<6}  {}", state.name(), printable(note));
                    let _ = writeln!(text, "{}", line.trim_end());
                }
            }
        }
        let _ = match self.failures() {
            0 => writeln!(text, "\nAll is well."),
            1 => writeln!(text, "\n1 check failed."),
            failures => writeln!(text, "\n{failures} checks failed."),
        };
        text
    }

    pub(super) fn json(&self) -> String {
        let variables = self.variables.iter().map(|Variable { name, state, note }| {
            json!({ "name": name, "state": state.name(), "note": printable(note) })
        });
        let checks = self.checks.iter().map(|(check, Verdict { status, reason, fix })| {
            json!({
                "check": check,
                "status": status.name(),
                "reason": printable(reason),
                "fix": fix.as_deref().map(printable),
            })
        });
        let report = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "server": self.server,
            "ok": self.is_ok(),
            "variables": variables.collect::<Value>(),
            "checks": checks.collect::<Value>(),
        });
        format!("{report:#}\n")
    }
}

/// What a server says is shown, and does not steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
