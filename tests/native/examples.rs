//! Examples, run against the receiver as its first lines say, and without Langfuse.

use std::path::Path;
use std::process::{Command, Stdio};

use axum::Router;
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::routing::{get, post};
use serde_json::Value;
use tokio::sync::{Mutex, mpsc};

use crate::program::{Program, traced};
use crate::receiver::Receiver;

#[test]
fn the_hello_workflow_example_delivers_before_it_ends() {
    let receiver = Receiver::start();

    assert_eq!(run("hello_workflow", &receiver), "Hello, world!\ndelivered: 1, retained: 0, ok: true\n");
    assert_eq!(untraced("hello_workflow"), "Hello, world!\ndelivered: 0, retained: 0, ok: true\n");
}

#[tokio::test]
async fn the_script_example_delivers_before_it_ends() {
    let receiver = Receiver::start();

    assert_eq!(run("script", &receiver), "the report is written\n");
    assert_eq!(untraced("script"), "the report is written\n");

    assert_eq!(receiver.state("observations").await, 5);
    let trees = receiver.trees().await;
    assert!(trees.contains("├─ TOOL        weather\n") && trees.contains("gpt-4o"), "{trees}");
}

#[tokio::test]
async fn the_wrapper_example_records_calls_that_succeed_and_that_fail() {
    let receiver = Receiver::start();
    let said = "42\nfailed: there is no message\n";

    assert_eq!(run("wrapper", &receiver), format!("{said}delivered: 3, ok: true\n"));
    assert_eq!(untraced("wrapper"), format!("{said}delivered: 0, ok: true\n"));

    let trees = receiver.trees().await;
    assert!(
        trees.contains("8 → 1 tokens") && trees.contains("ERROR  oracle-1  there is no message"),
        "{trees}"
    );
}

#[tokio::test]
async fn the_many_workflows_example_keeps_its_workflows_apart() {
    let receiver = Receiver::start();
    let said = "20 mails sorted, 10 failed; delivered:";

    assert_eq!(run("many_workflows", &receiver), format!("{said} 90\n"));
    assert_eq!(untraced("many_workflows"), format!("{said} 0\n"));

    let trees = receiver.trees().await;
    let roots = trees.matches("\nSPAN     sort_mail").count();
    assert_eq!((roots, receiver.state("observations").await), (30, 90), "{trees}");
}

#[tokio::test]
async fn the_email_workflow_example_gives_the_traces_that_it_gives_in_javascript() {
    let receiver = Receiver::start();
    let llm = ScriptedLlm::start();
    let emails = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/emails");
    let mut messages: Vec<_> = std::fs::read_dir(&emails)
        .expect("there are messages")
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
        .collect();
    messages.sort();

    let said = output(llm.answers(&mut traced("email_workflow", &receiver.url)).args(&messages));
    let mut untraced = traced("email_workflow", "http://127.0.0.1:9");
    let outbox = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("outbox-{}", std::process::id()));
    let untraced = llm.answers(untraced.env_remove("LANGFUSE_PUBLIC_KEY")).args(&messages);

    assert_eq!(output(untraced.env("OUTBOX", &outbox)), said);
    let replies = std::fs::read_dir(&outbox).expect("it was made").count();
    assert_eq!((replies, messages.len()), (10, 12), "one is sent by a machine, and one is no mail");
    let reply = std::fs::read_to_string(outbox.join("re-01-ada_example_org.eml")).expect("it is text");
    for line in ["Subject: Re: Where is my order 1042?\r\n", "In-Reply-To: <01-ada@example.org>\r\n"] {
        assert!(reply.contains(line), "{line} is missing in\n{reply}");
    }
    std::fs::remove_dir_all(&outbox).expect("it is ours");
    assert!(said.ends_with("retained: 0, ok: true\n"), "{said}");
    let expected = std::fs::read_to_string(emails.join("expected-trees.txt")).expect("it is there");
    assert_eq!(receiver.trees().await, expected);
    assert_eq!(receiver.state("duplicates").await, 0);
}

#[tokio::test]
async fn the_email_workflow_example_says_what_a_message_was_not_answered_of() {
    let receiver = Receiver::start();
    let llm = ScriptedLlm::start();
    let message = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/emails/01-plain-text.eml");
    let mut example = traced("email_workflow", &receiver.url);

    let said = output(llm.answers(&mut example).env_remove("OPENAI_API_KEY").arg(message));

    assert!(said.contains("not answered: classify: OPENAI_API_KEY is not set"), "{said}");
    let trees = receiver.trees().await;
    for line in ["AGENT             handle_email  ERROR", "GENERATION  classify      ERROR"] {
        assert!(trees.contains(line), "{line} is missing in\n{trees}");
    }
}

/// The model of the email workflow in both languages.
struct ScriptedLlm {
    _program: Program,
    variable: String,
}

impl ScriptedLlm {
    fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/cloudflare-worker/llm-endpoint.mjs");
        let mut program = Program::start(Command::new("node").arg(script));
        let variable = program.line();
        Self { _program: program, variable }
    }

    fn answers<'a>(&self, example: &'a mut Command) -> &'a mut Command {
        let (name, value) = self.variable.trim().split_once('=').expect("a variable");
        example.env("OPENAI_API_KEY", "scripted").env(name, value)
    }
}

#[cfg(feature = "tracing")]
#[tokio::test]
async fn the_tracing_layer_example_records_the_spans_that_are_meant() {
    let receiver = Receiver::start();
    let said = "An answer to: Why is the sky blue?\n";

    assert_eq!(run("tracing_layer", &receiver), format!("{said}delivered: 4, ok: true\n"));
    assert_eq!(untraced("tracing_layer"), format!("{said}delivered: 0, ok: true\n"));

    let trees = receiver.trees().await;
    for line in ["AGENT          assistant", "EVENT       nothing found", "GENERATION  chat", "9 → 5 tokens"]
    {
        assert!(trees.contains(line), "{line} is missing in\n{trees}");
    }
}

#[tokio::test]
async fn the_lambda_example_has_delivered_when_it_answers() {
    let receiver = Receiver::start();
    let (invoke, invocations) = mpsc::channel(1);
    let (answered, mut answers) = mpsc::channel(1);
    let runtime = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next_invocation))
        .route("/2018-06-01/runtime/invocation/{id}/{outcome}", post(take_answer))
        .with_state((std::sync::Arc::new(Mutex::new(invocations)), answered));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    tokio::spawn(axum::serve(listener, runtime).into_future());
    let mut function = traced("lambda", &receiver.url)
        .env("AWS_LAMBDA_RUNTIME_API", address)
        .env("AWS_LAMBDA_FUNCTION_NAME", "answer")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", "group")
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "stream")
        .stderr(Stdio::null())
        .spawn()
        .expect("the example is built");

    for (event, outcome, delivered) in [
        (r#"{"question": "6 × 7?"}"#, "response", 2),
        ("{}", "error", 3),
        (r#"{"question": "?"}"#, "response", 5),
    ] {
        invoke.send(event).await.expect("the runtime waits for it");

        let (id, answer, body) = answers.recv().await.expect("the function answers");

        assert_eq!((id.as_str(), answer.as_str()), ("request-1", outcome), "{body}");
        assert_eq!(receiver.state("observations").await, delivered, "before it is frozen");
    }
    function.kill().expect("it waits for another event");
    function.wait().expect("it ends");
    let trees = receiver.trees().await;
    assert!(trees.contains("ERROR  there is no question"), "{trees}");
}

type Invocations = std::sync::Arc<Mutex<mpsc::Receiver<&'static str>>>;
type Answers = mpsc::Sender<(String, String, Value)>;

/// The Lambda Runtime API: the next event, as soon as there is one.
async fn next_invocation(State((events, _)): State<(Invocations, Answers)>) -> (HeaderMap, String) {
    let event = events.lock().await.recv().await.expect("the test goes on");
    let headers = [
        ("lambda-runtime-aws-request-id", "request-1"),
        ("lambda-runtime-deadline-ms", "9999999999999"),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-central-1:1:function:answer"),
    ];
    let headers =
        headers.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    (headers.into_iter().collect(), event.to_owned())
}

async fn take_answer(
    State((_, answers)): State<(Invocations, Answers)>,
    UrlPath((id, outcome)): UrlPath<(String, String)>,
    body: String,
) {
    let body = serde_json::from_str(&body).expect("an answer is JSON");
    answers.send((id, outcome, body)).await.expect("the test waits for it");
}

fn run(example: &str, receiver: &Receiver) -> String {
    output(&mut traced(example, &receiver.url))
}

fn untraced(example: &str) -> String {
    output(traced(example, "http://127.0.0.1:9").env_remove("LANGFUSE_PUBLIC_KEY"))
}

fn output(example: &mut Command) -> String {
    let output = example.output().expect("`cargo test` builds the examples, unless it is given `--test`");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it prints text")
}
