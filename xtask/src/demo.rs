//! `cargo xtask demo`: the email Worker of the examples, seen from a receiver that stands in for Langfuse.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::project::Project;
use crate::setup::Tools;
use crate::{dist, now, progress, timed};

const LISTENING: &str = "langfuse-edge dev listening on ";
const START_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) fn run(project: &Project, tools: &Tools, keep: bool) -> Result<ExitCode> {
    dist::build(project, tools)?;
    timed("demo", "building the receiver", || project.build_receiver())?;
    let status = play(project, keep)?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Runs the Worker's demo against a receiver of its own; package and receiver are built.
pub(crate) fn play(project: &Project, keep: bool) -> Result<ExitStatus> {
    let receiver = Receiver::start(&project.receiver(), &project.target.join("demo-receiver.log"))?;
    progress("demo", format_args!("the receiver listens on {}", receiver.url));
    let status = Command::new("node")
        .current_dir(&project.root)
        .args(["examples/cloudflare-worker/demo.mjs", "--receiver", &receiver.url])
        .args(["--public-key", "pk-lf-dev", "--secret-key", "sk-lf-dev"])
        .status()
        .context("cannot run node")?;
    if keep {
        let (url, pid) = receiver.leave_running();
        progress("demo", format_args!("the receiver still listens on {url}; stop it with `kill {pid}`"));
    }
    Ok(status)
}

/// A running `langfuse-edge dev`. It ends with this value, and with a signal that ends xtask.
struct Receiver {
    url: String,
    process: Process,
}

type Process = Arc<Mutex<Option<Child>>>;

impl Receiver {
    /// Its output goes to a file, so that it can outlive this program and nobody waits for its pipes.
    fn start(program: &Path, log: &Path) -> Result<Self> {
        let output = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let process = Process::default();
        let on_signal = Arc::clone(&process);
        ctrlc::set_handler(move || {
            stop(&on_signal);
            std::process::exit(130);
        })?;
        let mut receiver = Self { url: String::new(), process };
        // Locked before it starts, so that a signal meanwhile still finds it.
        *lock(&receiver.process) = Some(
            Command::new(program)
                .args(["dev", "--port", "0"])
                .stdin(Stdio::null())
                .stdout(output.try_clone()?)
                .stderr(output)
                .spawn()
                .with_context(|| format!("cannot start {}", program.display()))?,
        );
        receiver.url = receiver.wait_for_url(log)?;
        Ok(receiver)
    }

    fn wait_for_url(&self, log: &Path) -> Result<String> {
        let start = now();
        loop {
            let output = std::fs::read_to_string(log)?;
            if let Some((first, _)) = output.split_once('\n') {
                let url = first.strip_prefix(LISTENING).map(str::trim);
                return url
                    .map(str::to_owned)
                    .with_context(|| format!("the receiver's first line is `{first}`"));
            }
            if let Some(status) = lock(&self.process).as_mut().map(Child::try_wait).transpose()?.flatten() {
                bail!("the receiver ended with {status}: {output}");
            }
            if start.elapsed() > START_TIMEOUT {
                bail!("the receiver did not say where it listens within {} s", START_TIMEOUT.as_secs());
            }
            pause();
        }
    }

    fn leave_running(self) -> (String, u32) {
        let child = lock(&self.process).take();
        (self.url.clone(), child.map_or(0, |child| child.id()))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        stop(&self.process);
    }
}

fn lock(process: &Process) -> MutexGuard<'_, Option<Child>> {
    process.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the process if it is still ours. It may have ended by itself, which is as good.
fn stop(process: &Process) {
    if let Some(mut child) = lock(process).take() {
        let _ = child.kill();
        let _ = child.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "nothing tells when a file has grown")]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}
