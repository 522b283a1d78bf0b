//! `langfuse-edge doctor`, with everything that it can find provoked.

mod run;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Output, Stdio};
use std::thread;

use serde_json::Value;

use crate::receiver::Receiver;
use run::Doctor;

#[tokio::test]
async fn a_healthy_setup_is_told_so() {
    let receiver = Receiver::start();

    let found = Doctor::of(&receiver).examine();

    found.is("✓✓✓–✓✓✓✓✓✓✓");
    assert_eq!((found.code, &found.json["ok"]), (Some(0), &Value::Bool(true)));
    found.says("environment", "3 of 14 variables are set");
    found.says("dns", "127.0.0.1 is an address");
    found.says("tls", "not needed: the URL begins with http://");
    found.says("server", "Langfuse 4.16.0, write mode events_only (");
    found.says("keys", "of the project langfuse-edge-dev");
    found.says("clock", "agrees with the server's");
    found.says("read-back", " ms after it was delivered");
    found.says("limits", "a request of 3 MB is taken (");
    assert!(found.text.ends_with("\nAll is well.\n"), "{}", found.text);
    let rows = receiver.rows("langfuse-edge doctor").await;
    let scores = receiver.scores().await;
    // Once for the table and once for the JSON.
    assert_eq!((rows.len(), scores.len()), (2, 2));
    found.says("trace", rows[1]["traceId"].as_str().expect("it has an id"));
    assert_eq!(scores[1]["traceId"], rows[1]["traceId"]);
}

#[test]
fn each_variable_is_set_absent_or_bad_and_no_secret_is_shown() {
    let receiver = Receiver::start();
    let bad = [
        ("LANGFUSE_PUBLIC_KEY", "pk-lf-hunter 2", "copied again from the project's settings"),
        ("LANGFUSE_PUBLIC_KEY", "sk-lf-hunter2", "begins with sk-lf-: are the two keys swapped?"),
        ("LANGFUSE_SECRET_KEY", "pk-lf-hunter2", "begins with pk-lf-: are the two keys swapped?"),
        ("LANGFUSE_SECRET_KEY", "sk-lf-hunter:2", "copied again from the project's settings"),
        ("LANGFUSE_BASE_URL", "https://me:hunter2@example.org", "an http or https URL without user name"),
        ("LANGFUSE_TRACING_ENABLED", "hunter2", "must be true or false"),
        ("LANGFUSE_SAMPLE_RATE", "hunter2", "must be a number from 0 to 1"),
        ("LANGFUSE_TIMEOUT", "hunter2", "must be seconds above 0"),
        ("LANGFUSE_FLUSH_AT", "hunter2", "must be a whole number above 0"),
        ("LANGFUSE_FLUSH_INTERVAL", "hunter2", "must be 0 or seconds"),
        ("LANGFUSE_AMBIGUOUS", "hunter2", "must be retry or give_up"),
        ("LANGFUSE_OTEL_COMPRESSION", "hunter2", "must be gzip or none"),
    ];
    for (name, value, words) in bad {
        let found = Doctor::of(&receiver).env(name, value).examine();

        assert_eq!(found.code, Some(1), "{name}");
        found.says("environment", &format!("{name} cannot be used"));
        let (state, note) = found.variable(name);
        assert!(state == "bad" && note.contains(words), "{name}: {note}");
        assert!(
            found.text.lines().any(|line| line.contains(name) && line.contains("  bad  ")),
            "{}",
            found.text
        );
        assert!(
            !found.text.contains("hunter") && !found.json.to_string().contains("hunter"),
            "{}",
            found.text
        );
        let rest = match name {
            "LANGFUSE_BASE_URL" => "––––––––––",
            "LANGFUSE_PUBLIC_KEY" | "LANGFUSE_SECRET_KEY" => "✓✓–✓–✓––––",
            _ => "✓✓–✓✓✓––––",
        };
        found.is(&format!("✗{rest}"));
    }
}

#[test]
fn variables_that_are_set_are_shown_but_for_the_keys() {
    let receiver = Receiver::start();

    let found = Doctor::of(&receiver)
        .env("LANGFUSE_HOST", "http://127.0.0.1:9")
        .env("LANGFUSE_SAMPLE_RATE", "0.25")
        .env("LANGFUSE_FLUSH_AT", " 7 ")
        .examine();

    found.is("✓✓✓–✓✓✓✓✓✓✓");
    found.says("environment", "6 of 14 variables are set; 0.25 of all traces are kept");
    let expected = [
        ("LANGFUSE_PUBLIC_KEY", "set", "pk-lf-…"),
        ("LANGFUSE_SECRET_KEY", "set", "sk-lf-…"),
        ("LANGFUSE_BASE_URL", "set", &receiver.url),
        ("LANGFUSE_HOST", "set", "not used: LANGFUSE_BASE_URL is set, too"),
        ("LANGFUSE_SAMPLE_RATE", "set", "0.25"),
        ("LANGFUSE_FLUSH_AT", "set", "7"),
        ("LANGFUSE_RELEASE", "absent", ""),
    ];
    for (name, state, note) in expected {
        assert_eq!(found.variable(name), (state, note), "{name}");
    }
    assert!(!found.text.contains("lf-dev"), "{}", found.text);
}

#[test]
fn tracing_that_is_switched_off_is_found() {
    let receiver = Receiver::start();
    for (name, value, words, marks) in [
        ("LANGFUSE_PUBLIC_KEY", "", "publicKey (LANGFUSE_PUBLIC_KEY) is not set", "✗✓✓–✓–✓––––"),
        ("LANGFUSE_SECRET_KEY", " ", "secretKey (LANGFUSE_SECRET_KEY) is not set", "✗✓✓–✓–✓––––"),
        ("LANGFUSE_TRACING_ENABLED", "false", "switched off by LANGFUSE_TRACING_ENABLED", "✗✓✓–✓✓✓––––"),
        ("LANGFUSE_SAMPLE_RATE", "0", "LANGFUSE_SAMPLE_RATE keeps no trace", "✗✓✓–✓✓✓––––"),
    ] {
        let found = Doctor::of(&receiver).env(name, value).examine();

        found.is(marks);
        found.says("environment", words);
        assert_eq!(found.code, Some(1));
    }
}

#[test]
fn a_server_that_cannot_be_reached_is_found_where_it_is_lost() {
    let unresolvable = Doctor::at("http://langfuse.invalid").examine();
    unresolvable.is("✓✗–––––––––");
    unresolvable.says("dns", "langfuse.invalid has no address");
    unresolvable.advises("dns", "check the host name in LANGFUSE_BASE_URL");

    let nobody = nobody_listens();
    let refused = Doctor::at(&nobody).examine();
    refused.is("✓✓✗––––––––");
    refused.says("connect", "takes no connection: ");
    refused.advises("connect", "check that the server runs");

    let speaks_something_else = tcp_server("220 mail.example.org\r\n");
    let no_tls = Doctor::at(&format!("https://{speaks_something_else}")).examine();
    no_tls.is("✓✓✓✗–––––––");
    no_tls.says("tls", "no encrypted connection: ");
    let no_http = Doctor::at(&format!("http://{speaks_something_else}")).examine();
    no_http.is("✓✓✓–✗––––––");
    no_http.says("server", "no answer: ");
    for found in [unresolvable, refused, no_tls, no_http] {
        assert_eq!(found.code, Some(1));
        assert!(found.text.ends_with("\n1 check failed.\n"), "{}", found.text);
    }
}

#[test]
fn a_server_that_hangs_ends_the_check_and_not_the_program() {
    let silent = tcp_server("");
    for (url, marks, check, words) in [
        (format!("http://{silent}"), "✓✓✓–✗––––––", "server", "no answer: it took too long"),
        (format!("https://{silent}"), "✓✓✓✗–––––––", "tls", "no encrypted connection: it took too long"),
    ] {
        let found = Doctor::at(&url).arguments(&["--timeout", "1"]).examine();

        found.is(marks);
        found.says(check, words);
    }
}

#[test]
fn what_answers_and_is_no_langfuse_is_found() {
    for (answer, words) in [
        (
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            "no Langfuse server: /api/public/health gives 404",
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n<!doctype html>", "no Langfuse server"),
        (
            "HTTP/1.1 308 Moved\r\nlocation: https://langfuse.example.org/\x1b[2J\r\ncontent-length: 0\r\n\r\n",
            "no answer",
        ),
        (
            "HTTP/1.1 308 Moved\r\nlocation: https://langfuse.example.org/\r\ncontent-length: 0\r\n\r\n",
            "it redirects to https://langfuse.example.org/",
        ),
    ] {
        let address = tcp_server(answer);

        let found = Doctor::at(&format!("http://{address}")).examine();

        found.is("✓✓✓–✗––––––");
        found.says("server", words);
        assert!(!found.text.contains('\x1b'), "{}", found.text);
    }
}

#[tokio::test]
async fn each_fault_of_a_server_is_found_with_what_to_do() {
    let receiver = Receiver::start();
    for (fault, marks, check, words, advice) in [
        (r#"{"status":503,"route":"health"}"#, "✓✓✓–✗–✓––––", "server", "it answers 503", "look at its logs"),
        (r#"{"reset":true,"route":"health"}"#, "✓✓✓–✗––––––", "server", "no answer: ", "leads to Langfuse"),
        (
            r#"{"hang":true,"route":"health"}"#,
            "✓✓✓–✗––––––",
            "server",
            "it took too long",
            "leads to Langfuse",
        ),
        (r#"{"version":"2.95.0"}"#, "✓✓✓–✗✓✓✓✓✓✓", "server", "Langfuse 2.95.0 takes no", "update the server"),
        (
            r#"{"status":403,"route":"projects"}"#,
            "✓✓✓–✓✗✓––––",
            "keys",
            "for a project (403)",
            "keys of the settings",
        ),
        (
            r#"{"status":500,"route":"projects"}"#,
            "✓✓✓–✓✗✓––––",
            "keys",
            "answers 500",
            "look at the server's logs",
        ),
        (r#"{"clockAheadSeconds":3600}"#, "✓✓✓–✓✓✗✓✓✓✓", "clock", " s behind the server's", "let NTP set it"),
        (
            r#"{"clockAheadSeconds":-90}"#,
            "✓✓✓–✓✓✗✓✓✓✓",
            "clock",
            " s ahead of the server's",
            "let NTP set it",
        ),
        (r#"{"status":401}"#, "✓✓✓–✓✓✓✗–✗–", "trace", "traces answers 401, attempts: 1", "copy both keys"),
        (
            r#"{"status":403}"#,
            "✓✓✓–✓✓✓✗–✗–",
            "trace",
            "traces answers 403, attempts: 1",
            "usage of your plan",
        ),
        (
            r#"{"status":404,"route":"traces"}"#,
            "✓✓✓–✓✓✓✗–✓–",
            "trace",
            "traces answers 404",
            "update the server",
        ),
        (
            r#"{"status":503,"route":"traces"}"#,
            "✓✓✓–✓✓✓✗–✓–",
            "trace",
            "traces answers 503",
            "try again later",
        ),
        (r#"{"status":429,"retryAfter":"60"}"#, "✓✓✓–✓✓✓✗–✗–", "trace", "traces answers 429", "rate limit"),
        (
            r#"{"hang":true,"route":"traces"}"#,
            "✓✓✓–✓✓✓✗–✓–",
            "trace",
            "no answer within",
            "proxy or firewall",
        ),
        (
            r#"{"rejectNames":["langfuse-edge doctor"]}"#,
            "✓✓✓–✓✓✓✗–✓–",
            "trace",
            "the server refuses it with 400",
            "look at the server's logs",
        ),
        (r#"{"unreadable":true}"#, "✓✓✓–✓✓✓✓✗✓✓", "read-back", "not readable within 500 ms", "longer --wait"),
        (
            r#"{"status":503,"route":"observations"}"#,
            "✓✓✓–✓✓✓✓✗✓✓",
            "read-back",
            "reading answers 503",
            "longer --wait",
        ),
        (
            r#"{"status":503,"route":"ingestion"}"#,
            "✓✓✓–✓✓✓✓✓✗✓",
            "score",
            "ingestion answers 503",
            "try again",
        ),
        (
            r#"{"eventErrors":[{"name":"langfuse-edge doctor","status":400,"message":"no such config"}]}"#,
            "✓✓✓–✓✓✓✓✓✗✓",
            "score",
            "refuses it with 400: no such config",
            "look at the server's logs",
        ),
        (
            r#"{"maxBodyBytes":1000000}"#,
            "✓✓✓–✓✓✓✓✓✓✗",
            "limits",
            "no request of 3 MB is taken",
            "client_max_body_size",
        ),
    ] {
        receiver.fault(fault).await;

        let found = Doctor::of(&receiver).arguments(patience(fault)).examine();

        found.is(marks);
        found.says(check, words);
        found.advises(check, advice);
        assert_eq!((found.code, &found.json["ok"]), (Some(1), &Value::Bool(false)), "{fault}");
    }
}

/// What goes wrong at once leaves a busy machine its time; what does so in the end must not take long.
fn patience(fault: &str) -> &'static [&'static str] {
    match fault {
        _ if fault.contains("hang") => &["--timeout", "1"],
        _ if fault.contains("unreadable") || fault.contains("observations") => &["--wait", "0.5"],
        _ if fault.contains("503") => &["--timeout", "3"],
        _ => &[],
    }
}

#[tokio::test]
async fn what_an_older_server_cannot_show_is_no_failure() {
    let receiver = Receiver::start();
    receiver.fault(r#"{"legacy":true,"version":"3.100.0"}"#).await;
    let found = Doctor::of(&receiver).examine();
    found.says("server", "Langfuse 3.100.0, write mode legacy or dual");
    assert_eq!(found.code, Some(0));

    receiver.fault(r#"{"status":404,"route":"observations"}"#).await;
    let found = Doctor::of(&receiver).examine();
    found.is("✓✓✓–✓✓✓✓–✓✓");
    found.says("read-back", "this server has no GET /api/public/v2/observations");
    assert_eq!(found.code, Some(0));
}

#[test]
fn more_records_than_may_wait_are_too_many_to_wait_for() {
    let receiver = Receiver::start();

    let found = Doctor::of(&receiver).env("LANGFUSE_FLUSH_AT", "100001").examine();

    found.is("✓✓✓–✓✓✓✓✓✓✗");
    found.says("limits", "LANGFUSE_FLUSH_AT is above the 100000 records that wait at most");
}

#[test]
fn wrong_keys_are_found_and_other_regions_are_asked_only_when_told_to() {
    let here = Receiver::start();
    let there = Receiver::start_with(&["--secret-key", "sk-lf-elsewhere"]);
    let nobody = nobody_listens();
    let doctor = || Doctor::of(&here).env("LANGFUSE_SECRET_KEY", "sk-lf-elsewhere");

    let found = doctor().examine();
    found.is("✓✓✓–✓✗✓––––");
    found.says("keys", "the server does not know them (401)");
    found.advises("keys", "--regions tries the others of Langfuse Cloud");

    let found = doctor().arguments(&[&format!("--regions={},{nobody},{}/", here.url, there.url)]).examine();
    found.is("✓✓✓–✓✗✓––––");
    found.says("keys", &format!("(401), but {} does", there.url));
    found.advises("keys", &format!("set LANGFUSE_BASE_URL={}", there.url));

    let found = doctor().arguments(&[&format!("--regions={nobody}")]).examine();
    found.says("keys", &format!("none of the others does: {nobody}"));
    assert_eq!(found.code, Some(1));
}

#[test]
fn what_cannot_be_meant_is_said_and_nothing_is_asked() {
    for (arguments, words) in [
        (["--timeout", "soon"], "must be seconds above 0"),
        (["--wait", "0"], "must be seconds above 0"),
        (["--timeout", "NaN"], "must be seconds above 0"),
        (["--regions=langfuse", "--json"], "must be http or https URLs with commas between"),
        (["--region", "us"], "--region"),
        (["now", "--json"], "now"),
    ] {
        let Output { status, stderr, stdout } = Doctor::at("http://127.0.0.1:9").arguments(&arguments).run();

        let stderr = String::from_utf8_lossy(&stderr);
        assert_eq!((status.code(), stdout.len()), (Some(2), 0), "{arguments:?}");
        assert!(stderr.contains(words), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_closed_stdout_changes_nothing() {
    let receiver = Receiver::start();
    let mut process = Doctor::of(&receiver).command().stdout(Stdio::piped()).spawn().expect("it starts");
    drop(process.stdout.take());

    assert_eq!(process.wait().expect("it ends").code(), Some(0));
}

#[test]
fn through_a_proxy_nobody_looks_for_the_server_itself() {
    let receiver = Receiver::start();

    let found = Doctor::at("http://langfuse.invalid").env("http_proxy", &receiver.url).examine();

    assert!(found.marks().starts_with("✓–––"), "{}", found.text);
    found.says("dns", "a proxy of the environment makes the connection");
}

/// The address of a server that says this to whoever says something, and leaves it to them to end the connection.
fn tcp_server(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    // They end with the process.
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                drop(stream.read(&mut [0; 4096]));
                drop(stream.write_all(answer.as_bytes()));
                drop(stream.read_to_end(&mut Vec::new()));
            });
        }
    });
    address
}

fn nobody_listens() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}", listener.local_addr().expect("it is bound"))
}
