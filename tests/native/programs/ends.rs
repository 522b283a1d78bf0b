//! A program that records, and ends as its argument says.

use std::fs::File;
use std::io::{Write as _, stdout};
use std::process::exit;
use std::time::Duration;

use langfuse_edge::{FlushGuard, Langfuse, Options, init, langfuse, shutdown_signal};

const PATIENCE: Duration = Duration::from_secs(20);

fn main() {
    let way = std::env::args().nth(1).expect("a way to end");
    match way.as_str() {
        "return" => {
            let _guard = guard();
            record();
        }
        "last-clone" => drop(client().observe("work").start()),
        "return-of-tokio-main" => return_of_tokio_main(),
        "tokio-main-with-a-task-left" => tokio_main_with_a_task_left(),
        "exit" => {
            let _guard = guard();
            record();
            exit(3);
        }
        "flushed-exit" => {
            let _guard = guard();
            record();
            langfuse().flush_blocking(PATIENCE);
            exit(3);
        }
        "panic" => {
            let _guard = guard();
            let _work = langfuse().observe("work").start();
            panic!("on purpose");
        }
        "abort" => abort(),
        "flushed-abort" => {
            std::panic::set_hook(Box::new(|_| drop(langfuse().flush_blocking(PATIENCE))));
            abort();
        }
        "signal" => {
            let _guard = guard();
            langfuse().flush_on_signals(PATIENCE);
            record();
            say("ready");
            forever();
        }
        "graceful-signal" => {
            let _guard = guard();
            // It leaves the end of the process to who awaits the signal.
            langfuse().flush_on_signals(PATIENCE);
            let asked = shutdown_signal();
            record();
            say("ready");
            runtime().block_on(asked);
            langfuse().observe("last words").start().end();
        }
        "stuck-after-a-signal" => {
            let asked = shutdown_signal();
            say("ready");
            runtime().block_on(asked);
            say("asked");
            forever();
        }
        "descriptors" => descriptors(),
        "network" => {
            let langfuse = client();
            langfuse.observe("work").start().end();
            say(&format!("retained {}", langfuse.flush_blocking(Duration::from_millis(300)).retained));
        }
        "send" => {
            let langfuse = client();
            langfuse.observe("work").input(&"words ".repeat(1000)).start().end();
            let report = langfuse.flush_blocking(PATIENCE);
            say(&format!("delivered {}", report.delivered));
        }
        "hour" => hour(),
        _ => panic!("no way to end: {way}"),
    }
}

#[tokio::main]
async fn return_of_tokio_main() {
    let _guard = guard();
    tokio::spawn(async { record() }).await.expect("it records");
}

/// The task has the last clone, and is dropped by the runtime when `main` has returned.
#[tokio::main]
async fn tokio_main_with_a_task_left() {
    let work = client().observe("work").start();
    tokio::spawn(work.scope_forever());
    tokio::task::yield_now().await;
}

trait ScopeForever {
    fn scope_forever(self) -> impl Future<Output = ()> + Send;
}

impl ScopeForever for langfuse_edge::Observation {
    async fn scope_forever(self) {
        self.scope(std::future::pending::<()>()).await;
    }
}

/// What a panic does in a program that is built to abort, a foreign function's frame does in any program.
fn abort() {
    extern "C" fn foreign() {
        panic!("on purpose");
    }
    let _guard = guard();
    record();
    foreign();
}

/// Runs out of file descriptors, and has some again.
fn descriptors() {
    let langfuse = client();
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    langfuse.observe("work").start().end();
    let retained = langfuse.flush_blocking(Duration::from_millis(300)).retained;
    let error = Langfuse::new(&Options::default().or_env(&|name| std::env::var(name).ok()));
    let error = error.map(drop).expect_err("a thread of its own needs descriptors");
    drop(files);
    let delivered = langfuse.flush_blocking(PATIENCE).delivered;
    say(&format!("retained {retained}, delivered {delivered}, {error}"));
}

/// An hour of a busy service, without its pauses: what it holds in memory after ten minutes and at the end, in pages.
fn hour() {
    let langfuse = client();
    let runtime = runtime();
    let input = "0123456789 ".repeat(100);
    let mut after_ten_minutes = 0;
    for second in 0..3600_u32 {
        for _ in 0..3 {
            let root = langfuse.observe("request").user_id("user").input(&input).start();
            let answer = root.generation("answer").model("gpt-4o").input(&input).start();
            answer.output(&input).score("quality", 0.5).create();
        }
        if second % 5 == 0 {
            assert!(runtime.block_on(langfuse.flush()).ok, "everything is delivered");
        }
        if second % 60 == 0 {
            langfuse.observe("cancelled").start().end();
            drop(runtime.block_on(async { tokio::time::timeout(Duration::ZERO, langfuse.flush()).await }));
            client().observe("short-lived client").start().end();
        }
        if second == 600 {
            after_ten_minutes = resident_pages();
        }
    }
    let stats = langfuse.stats();
    assert_eq!(stats.recorded, stats.delivered + stats.queued + stats.leased, "{stats:?}");
    say(&format!("{after_ten_minutes} {}", resident_pages()));
}

fn resident_pages() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("the kernel tells");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.expect("the second number is that of the resident pages")
}

fn guard() -> FlushGuard {
    init().expect("the variables are valid").timeout(PATIENCE)
}

fn client() -> Langfuse {
    Langfuse::from_env().expect("the variables are valid")
}

fn record() {
    langfuse().observe("work").start().end();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn forever() {
    loop {
        std::thread::park();
    }
}

fn say(line: &str) {
    writeln!(stdout().lock(), "{line}").expect("somebody listens");
}
