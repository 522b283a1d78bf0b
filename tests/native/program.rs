//! Programs in processes of their own: what they are told, and what they say.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

/// An example, as run by somebody who has copied what the receiver says into a shell.
pub(crate) fn traced(example: &str, url: &str) -> Command {
    let mut command = Command::new(path_of(example));
    sending_to(url, &mut command);
    command
}

pub(crate) fn path_of(example: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_langfuse-edge")).with_file_name("examples").join(example)
}

pub(crate) fn sending_to<'a>(url: &str, command: &'a mut Command) -> &'a mut Command {
    command
        .env("LANGFUSE_PUBLIC_KEY", "pk-lf-dev")
        .env("LANGFUSE_SECRET_KEY", "sk-lf-dev")
        .env("LANGFUSE_BASE_URL", url)
}

/// A process that is killed when its test fails.
pub(crate) struct Program {
    process: Child,
    stdout: BufReader<ChildStdout>,
}

impl Program {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap_or_else(|error| {
            panic!("{command:?}: {error}; `cargo test` builds the examples, unless it is given `--test`")
        });
        let stdout = BufReader::new(process.stdout.take().expect("its output is piped"));
        Self { process, stdout }
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it says something");
        line
    }

    #[cfg(unix)]
    pub(crate) fn says(&mut self, line: &str) {
        assert_eq!(self.line(), format!("{line}\n"));
    }

    #[cfg(unix)]
    pub(crate) fn send(&self, signal: &str) {
        let id = self.process.id().to_string();
        let status = Command::new("kill").args(["-s", signal, &id]).status().expect("there is a shell");
        assert!(status.success(), "it is alive");
    }

    /// How it ends, and what it says until then.
    #[cfg(unix)]
    pub(crate) fn rest(&mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("it prints text");
        (self.process.wait().expect("it ends"), rest)
    }

    /// How it ends, without another word.
    #[cfg(unix)]
    pub(crate) fn end(&mut self) -> ExitStatus {
        let (status, rest) = self.rest();
        assert_eq!(rest, "");
        status
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
