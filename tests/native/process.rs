//! Processes that really end, in every way a process can.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::time::Instant;

use crate::program::{Program, path_of, sending_to, traced};
use crate::receiver::Receiver;
use crate::sink::Sink;

const SIGABRT: i32 = 6;
#[cfg(target_os = "linux")]
const PAGE: u64 = 4096;

#[tokio::test]
async fn a_program_that_returns_from_main_has_delivered() {
    for way in ["return", "last-clone", "return-of-tokio-main", "tokio-main-with-a-task-left"] {
        let receiver = Receiver::start();

        let status = run(way, &receiver);

        assert_eq!((status.code(), receiver.state("observations").await), (Some(0), 1), "{way}");
    }
}

#[tokio::test]
async fn exit_and_abort_lose_what_has_not_been_flushed_and_nothing_else() {
    for (way, delivered) in [("exit", 0), ("flushed-exit", 1), ("abort", 0), ("flushed-abort", 1)] {
        let receiver = Receiver::start();

        let status = run(way, &receiver);

        let expected = if way.ends_with("exit") { (Some(3), None) } else { (None, Some(SIGABRT)) };
        assert_eq!((status.code(), status.signal()), expected, "{way}");
        assert_eq!(receiver.state("observations").await, delivered, "{way}");
    }
}

#[tokio::test]
async fn a_program_that_panics_delivers_the_observation_that_failed() {
    let receiver = Receiver::start();

    let status = run("panic", &receiver);

    assert_eq!(status.code(), Some(101));
    let trees = receiver.trees().await;
    assert!(trees.contains("work  ERROR") && trees.contains("panicked"), "{trees}");
}

#[tokio::test]
async fn a_signal_flushes_and_then_ends_the_process_with_its_number() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let receiver = Receiver::start();
        let mut program = start("signal", &receiver.url);
        program.says("ready");

        program.send(signal);

        assert_eq!((program.end().code(), receiver.state("observations").await), (Some(code), 1), "{signal}");
    }
}

#[tokio::test]
async fn a_second_signal_ends_a_process_at_once_that_waits_for_its_flush() {
    let receiver = Receiver::start();
    receiver.fault(r#"{"hang": true}"#).await;
    let mut program = start("signal", &receiver.url);
    program.says("ready");
    program.send("INT");
    while receiver.state("requests").await == 0 {
        tokio::task::yield_now().await;
    }

    let start = Instant::now();
    program.send("INT");

    assert_eq!(program.end().code(), Some(130));
    assert!(start.elapsed() < Duration::from_secs(5), "the flush alone may take 20 s");
}

#[tokio::test]
async fn who_awaits_the_signal_ends_the_process_and_what_it_records_until_then_is_delivered() {
    let receiver = Receiver::start();
    let mut program = start("graceful-signal", &receiver.url);
    program.says("ready");

    program.send("TERM");

    assert_eq!((program.end().code(), receiver.state("observations").await), (Some(0), 2));
}

#[test]
fn a_second_signal_ends_a_process_at_once_that_does_not_end_by_itself() {
    let mut program = start("stuck-after-a-signal", "http://127.0.0.1:9");
    program.says("ready");
    program.send("TERM");
    program.says("asked");

    program.send("INT");

    assert_eq!(program.end().code(), Some(130));
}

#[tokio::test]
async fn a_process_without_file_descriptors_keeps_its_records_until_it_has_some() {
    let receiver = Receiver::start();
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"ulimit -n 64; exec "$0" descriptors"#]).arg(path_of("ends")).stderr(Stdio::null());

    let mut program = Program::start(sending_to(&receiver.url, &mut shell));

    let line = program.line();
    assert!(line.starts_with("retained 1, delivered 1, the HTTP client cannot be made"), "{line}");
    assert_eq!((program.end().code(), receiver.state("observations").await), (Some(0), 1));
}

#[test]
fn a_process_without_a_network_ends_within_its_bounds() {
    let receiver = Receiver::start();
    let url = receiver.url.clone();
    drop(receiver);
    let begun = Instant::now();
    let mut program = start("network", &url);

    program.says("retained 1");

    assert_eq!(program.end().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(10), "300 ms for the flush, 5 s for the last clone");
}

#[cfg(target_os = "linux")]
#[test]
fn an_hour_of_work_leaves_no_memory_behind() {
    let sink = Sink::start();
    let mut program = start("hour", &sink.url());

    let line = program.line();

    let (after_ten_minutes, at_the_end) = line.trim().split_once(' ').expect("two numbers");
    let [early, late] = [after_ten_minutes, at_the_end].map(|pages| pages.parse::<u64>().expect("a number"));
    let grown = late.saturating_sub(early) * PAGE;
    assert!(grown < 4 * 1024 * 1024, "{} MiB have become {} MiB", (early * PAGE) >> 20, (late * PAGE) >> 20);
    assert_eq!(program.end().code(), Some(0));
}

#[test]
fn bodies_are_compressed_when_that_is_asked_for_and_go_through_the_proxy_of_the_environment() {
    let sink = Sink::start();
    let mut command = ends("send", "http://langfuse.invalid/path");
    command.env("http_proxy", sink.url()).env("LANGFUSE_OTEL_COMPRESSION", "gzip");

    let mut program = Program::start(&mut command);

    program.says("delivered 1");
    assert_eq!(program.end().code(), Some(0));
    let connections = sink.connections();
    let [head] = &connections[0][..] else { panic!("one request: {connections:?}") };
    assert!(head.starts_with("post http://langfuse.invalid/path/api/public/otel/v1/traces "), "{head}");
    assert!(head.contains("content-encoding: gzip"), "{head}");
}

#[tokio::test]
async fn a_compressed_body_is_understood() {
    for (compression, encoding) in [("gzip", "\"gzip\""), ("none", "null"), ("", "null")] {
        let receiver = Receiver::start();
        let mut command = ends("send", &receiver.url);

        let mut program = Program::start(command.env("LANGFUSE_OTEL_COMPRESSION", compression));

        program.says("delivered 1");
        assert_eq!(program.end().code(), Some(0));
        assert_eq!(receiver.state("observations").await, 1);
        let requests = receiver.get("requests").await;
        assert!(requests.contains(&format!("\"encoding\":{encoding}")), "{compression}: {requests}");
    }
}

/// Runs the program to its end.
fn run(way: &str, receiver: &Receiver) -> ExitStatus {
    start(way, &receiver.url).end()
}

fn start(way: &str, url: &str) -> Program {
    Program::start(&mut ends(way, url))
}

/// `programs/ends.rs`.
fn ends(way: &str, url: &str) -> Command {
    let mut command = traced("ends", url);
    command.arg(way).stderr(Stdio::null());
    command
}
