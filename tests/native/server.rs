//! The server of the examples: real runs, real signals, and nothing unaccounted for.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::program::{Program, traced};
use crate::receiver::Receiver;

const ABORTED: &str = "aborted: the server is ending";
/// What comes after the grace period at most: steps, clients and the last flush.
const AFTER_GRACE: Duration = Duration::from_secs(16);
const SIGKILL: i32 = 9;

#[tokio::test]
async fn a_run_is_started_watched_step_by_step_and_asked_for_its_result() {
    let receiver = Receiver::start();
    let mut server = Server::start(&receiver, 10);

    let started = server.post(r#"{"topic": "tea", "sections": 2}"#).await;

    assert_eq!(started.status(), 202);
    let location = started.headers()["location"].to_str().expect("it is text").to_owned();
    let id = text(&json(started).await["id"]);
    assert_eq!(location, format!("/runs/{id}"));
    let (status, running) = server.get(&location).await;
    assert_eq!((status, running), (200, json!({ "id": id, "status": "running" })));
    let events = server.watch(&id).await;
    let steps = events.iter().filter(|(event, _)| event == "step").map(|(_, data)| &data["step"]);
    assert_eq!(steps.collect::<Vec<_>>(), ["outline", "section 1", "section 2", "review"]);
    let (last, end) = events.last().expect("there are events");
    assert_eq!((last.as_str(), &end["status"]), ("end", &json!("done")));
    assert_eq!(server.get(&location).await, (200, end.clone()));
    assert_eq!(server.watch(&id).await, events, "they can be watched again, from the beginning");
    assert!(server.end("TERM").ends_with(&delivered(9)));
    assert_eq!(
        receiver.trees().await,
        "trace  write_article
AGENT             write_article
├─ SPAN           outline
│  └─ GENERATION  ask_model      9 → 9 tokens  gpt-4o
├─ SPAN           section 1
│  └─ GENERATION  ask_model      9 → 9 tokens  gpt-4o
├─ SPAN           section 2
│  └─ GENERATION  ask_model      9 → 9 tokens  gpt-4o
└─ SPAN           review
   └─ GENERATION  ask_model      9 → 9 tokens  gpt-4o
"
    );
}

#[tokio::test]
async fn a_run_that_fails_says_why_and_so_does_its_trace() {
    let receiver = Receiver::start();
    let mut server = Server::start(&receiver, 10);

    let id = server.run(r#"{"topic": "tea", "sections": 0}"#).await;

    let events = server.watch(&id).await;
    let end = json!({ "id": id, "status": "failed", "error": "an article needs a section" });
    assert_eq!(events.last(), Some(&("end".to_owned(), end)));
    server.end("INT");
    for failed in ["review", "write_article"] {
        let row = receiver.row(failed).await;
        assert_eq!(
            (&row["level"], &row["statusMessage"]),
            (&json!("ERROR"), &json!("an article needs a section"))
        );
    }
}

#[tokio::test]
async fn what_cannot_be_served_is_refused() {
    let receiver = Receiver::start();
    let server = Server::start(&receiver, 10);
    let too_much = format!(r#"{{"topic": "{}"}}"#, "x".repeat(70_000));

    for (status, order) in [
        (400, "tea"),
        (400, "{}"),
        (400, r#"{"topic": 1}"#),
        (400, r#"{"topic": "tea", "sections": -1}"#),
        (400, r#"{"topic": "tea", "sections": 256}"#),
        (413, too_much.as_str()),
    ] {
        assert_eq!(server.post(order).await.status(), status, "{order:.40}");
    }
    assert_eq!(server.get("/runs/1").await, (404, json!({ "error": "there is no such run" })));
    assert_eq!(server.get("/runs/1/events").await.0, 404);
    let deleted = server.http.delete(format!("{}/runs", server.url)).send().await.expect("it answers");
    assert_eq!(deleted.status(), 405);
}

#[tokio::test]
async fn fifty_runs_at_a_time_keep_separate_traces() {
    let receiver = Receiver::start();
    let mut server = Server::start(&receiver, 10);

    let mut watched = JoinSet::new();
    for topic in 0..50 {
        let id = server.run(&format!(r#"{{"topic": "topic-{topic}."}}"#)).await;
        watched.spawn(server.follow(&id, None));
    }
    while let Some(events) = watched.join_next().await {
        let events = events.expect("it can be followed");
        assert_eq!(events.last().expect("there are events").1["status"], "done");
    }

    assert!(server.end("TERM").ends_with(&delivered(50 * 11)));
    let traces = traces(&receiver).await;
    assert_eq!(traces.len(), 50);
    for rows in traces.values() {
        let root = rows.iter().find(|row| row["parentObservationId"].is_null()).expect("it has a root");
        let input: Value =
            serde_json::from_str(root["input"].as_str().expect("it is text")).expect("it is JSON");
        let topic = input["topic"].as_str().expect("it has a topic");
        let calls: Vec<_> = rows.iter().filter(|row| row["type"] == "GENERATION").collect();
        assert_eq!((rows.len(), calls.len()), (11, 5), "{topic}");
        for call in calls {
            assert!(call["input"].as_str().is_some_and(|input| input.contains(topic)), "{topic}: {call}");
        }
    }
}

#[tokio::test]
async fn a_signal_in_the_middle_of_fifty_runs_leaves_nothing_unaccounted_for() {
    const GRACE: u16 = 3;
    let receiver = Receiver::start();
    let mut server = Server::start(&receiver, GRACE);
    let (tell, mut heard) = mpsc::unbounded_channel();
    let (mut watched, mut long) = (JoinSet::new(), BTreeSet::new());
    for number in 0..50 {
        let is_long = number % 2 == 0;
        let sections = if is_long { 255 } else { 1 };
        let id = server.run(&format!(r#"{{"topic": "tea", "sections": {sections}}}"#)).await;
        if is_long {
            long.insert(id.clone());
        }
        let events = server.follow(&id, Some(tell.clone()));
        watched.spawn(async { (id, events.await) });
    }
    let mut begun = BTreeSet::new();
    while begun.len() < 50 {
        begun.insert(heard.recv().await.expect("they are followed"));
    }

    let asked = Instant::now();
    server.program.send("TERM");
    let line = server.program.line();
    assert!(line.starts_with("ending: ") && line.ends_with(" runs have 3 s to finish\n"), "{line}");
    let refused = server.post(r#"{"topic": "tea"}"#).await;
    assert_eq!(refused.status(), 503);
    let (mut done, mut aborted) = (BTreeMap::new(), BTreeMap::new());
    while let Some(watched) = watched.join_next().await {
        let (id, events) = watched.expect("it can be followed");
        let (steps, [(end, summary)]) = events.split_at(events.len() - 1) else { panic!("{id} has no end") };
        assert_eq!(end, "end", "{id} has been told of to its end");
        let told = if summary["status"] == "done" { &mut done } else { &mut aborted };
        told.insert(id, steps.iter().map(|(_, data)| data.clone()).collect::<Vec<_>>());
    }
    let (status, rest) = server.program.rest();

    assert_eq!(status.code(), Some(0));
    assert!(long.iter().all(|id| aborted.contains_key(id)) && !done.is_empty(), "{} were done", done.len());
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(GRACE.into()) + AFTER_GRACE, "{took:?}");
    let arrived = receiver.state("observations").await;
    assert!(rest.ends_with(&delivered(arrived)), "{arrived} have arrived: {rest}");
    assert_eq!(receiver.state("duplicates").await, 0);
    let traces = traces(&receiver).await;
    assert_eq!(traces.len(), 50);
    for (id, told) in done.iter().chain(&aborted) {
        let rows = &traces[id];
        let spans = rows.iter().filter(|row| row["type"] == "SPAN").map(|row| text(&row["name"]));
        let told_of = told.iter().map(|step| text(&step["step"]));
        assert_eq!(spans.collect::<BTreeSet<_>>(), told_of.collect::<BTreeSet<_>>(), "{id}");
    }
    for id in aborted.keys() {
        let row = |wanted: &dyn Fn(&Value) -> bool| {
            let rows: Vec<_> = traces[id].iter().filter(|row| wanted(row)).collect();
            assert_eq!(rows.len(), 1, "{rows:?}");
            (text(&rows[0]["level"]), text(&rows[0]["statusMessage"]))
        };
        assert_eq!(row(&|row| row["type"] == "AGENT"), ("ERROR".to_owned(), ABORTED.to_owned()));
        assert_eq!(row(&|row| row["type"] == "SPAN" && row["level"] == "ERROR").1, ABORTED);
    }
}

#[tokio::test]
async fn a_second_signal_ends_the_server_at_once() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let receiver = Receiver::start();
        let mut server = Server::start(&receiver, 600);
        server.run(r#"{"topic": "tea", "sections": 255}"#).await;
        server.program.send("TERM");
        assert_eq!(server.program.line(), "ending: 1 runs have 600 s to finish\n");

        let asked = Instant::now();
        server.program.send(signal);

        let (status, rest) = server.program.rest();
        assert_eq!((status.code(), rest.as_str()), (Some(code), ""), "{signal}");
        assert!(asked.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn of_a_server_that_is_killed_every_step_is_there_that_it_has_told_of() {
    let receiver = Receiver::start();
    let mut example = traced("server", &receiver.url);
    // Nothing but steps flushes.
    example.envs([("LANGFUSE_FLUSH_AT", "100000"), ("LANGFUSE_FLUSH_INTERVAL", "600")]);
    let mut server = Server::spawn(&mut example, 10);
    let (tell, mut heard) = mpsc::unbounded_channel();
    let mut watched = JoinSet::new();
    for _ in 0..20 {
        let id = server.run(r#"{"topic": "tea", "sections": 255}"#).await;
        let events = server.follow(&id, Some(tell.clone()));
        watched.spawn(async { (id, events.await) });
    }
    for _ in 0..100 {
        heard.recv().await.expect("they are followed");
    }

    server.program.send("KILL");

    assert_eq!(server.program.rest().0.signal(), Some(SIGKILL));
    let traces = traces(&receiver).await;
    let mut flushed = 0;
    while let Some(watched) = watched.join_next().await {
        let (id, events) = watched.expect("it can be followed");
        // A step that has waited for a second may have gone on without its flush.
        for (_, step) in events.iter().filter(|(_, step)| step["ms"].as_u64().is_some_and(|ms| ms < 1000)) {
            assert!(traces[&id].iter().any(|row| row["name"] == step["step"]), "{step} of {id}");
            flushed += 1;
        }
    }
    assert!(flushed >= 10, "{flushed} steps were flushed within a second");
}

#[tokio::test]
async fn a_server_whose_langfuse_is_away_ends_within_its_bounds_and_says_what_it_has_not_delivered() {
    let receiver = Receiver::start();
    receiver.fault(r#"{"hang": true}"#).await;
    let mut server = Server::start(&receiver, 1);
    let id = server.run(r#"{"topic": "tea", "sections": 255}"#).await;
    let (tell, mut heard) = mpsc::unbounded_channel();
    let watched = tokio::spawn(server.follow(&id, Some(tell)));
    heard.recv().await.expect("it is followed");

    let asked = Instant::now();
    let rest = server.end("TERM");

    assert!(asked.elapsed() < Duration::from_secs(1) + AFTER_GRACE);
    let events = watched.await.expect("it is followed");
    assert_eq!(events.last().expect("there are events").1["status"], "aborted");
    // The step that was aborted may not have begun its call.
    let observations = 2 * (events.len() - 1) + 1;
    let retained =
        |count: usize| rest.ends_with(&format!("delivered: 0, rejected: 0, dropped: 0, retained: {count}\n"));
    assert!(retained(observations) || retained(observations - 1), "{observations}: {rest}");
}

#[tokio::test]
async fn without_keys_the_server_works_untraced() {
    let receiver = Receiver::start();
    let mut example = traced("server", &receiver.url);
    let mut server = Server::spawn(example.env_remove("LANGFUSE_PUBLIC_KEY"), 10);

    let id = server.run(r#"{"topic": "tea", "sections": 1}"#).await;

    assert_eq!(server.watch(&id).await.last().expect("there are events").1["status"], "done");
    assert!(server.end("TERM").ends_with(&delivered(0)));
}

/// The last line of a server that has delivered everything.
fn delivered(observations: u64) -> String {
    format!("delivered: {observations}, rejected: 0, dropped: 0, retained: 0\n")
}

/// What has arrived, by the ids of runs, which are those of their traces.
async fn traces(receiver: &Receiver) -> BTreeMap<String, Vec<Value>> {
    let rows: Vec<Value> = serde_json::from_str(&receiver.get("rows").await).expect("the rows are JSON");
    let mut traces = BTreeMap::<_, Vec<_>>::new();
    for row in rows {
        traces.entry(text(&row["traceId"])).or_default().push(row);
    }
    traces
}

async fn json(response: reqwest::Response) -> Value {
    let body = response.bytes().await.expect("it answers to the end");
    serde_json::from_slice(&body).expect("it is JSON")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is text")).to_owned()
}

type Told = (String, Value);

/// The example `server`.
struct Server {
    url: String,
    http: reqwest::Client,
    program: Program,
}

impl Server {
    fn start(receiver: &Receiver, grace_seconds: u16) -> Self {
        Self::spawn(&mut traced("server", &receiver.url), grace_seconds)
    }

    fn spawn(example: &mut Command, grace_seconds: u16) -> Self {
        example.env("PORT", "0").env("GRACE_SECONDS", grace_seconds.to_string()).stderr(Stdio::null());
        let mut program = Program::start(example);
        let line = program.line();
        let url = line.trim().strip_prefix("listening on ").expect("it says where it listens").to_owned();
        Self { url, http: reqwest::Client::new(), program }
    }

    async fn post(&self, order: &str) -> reqwest::Response {
        let request = self.http.post(format!("{}/runs", self.url)).body(order.to_owned());
        request.send().await.expect("it answers")
    }

    /// Starts a run and gives its id.
    async fn run(&self, order: &str) -> String {
        text(&json(self.post(order).await).await["id"])
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let response = self.http.get(format!("{}{path}", self.url)).send().await.expect("it answers");
        (response.status().as_u16(), json(response).await)
    }

    async fn watch(&self, id: &str) -> Vec<Told> {
        self.follow(id, None).await
    }

    /// The events of a run until its end, or the server's. `told` gets its id with each of them.
    fn follow(
        &self,
        id: &str,
        told: Option<mpsc::UnboundedSender<String>>,
    ) -> impl Future<Output = Vec<Told>> + Send + 'static {
        let (id, request) = (id.to_owned(), self.http.get(format!("{}/runs/{id}/events", self.url)));
        async move {
            let mut response = request.send().await.expect("it answers");
            assert_eq!(response.headers()["content-type"], "text/event-stream");
            let (mut text, mut events) = (String::new(), Vec::new());
            while let Ok(Some(chunk)) = response.chunk().await {
                text.push_str(std::str::from_utf8(&chunk).expect("it is ASCII"));
                while let Some((event, rest)) = text.split_once("\n\n") {
                    let (name, data) = event.split_once("\ndata: ").expect("an event has data");
                    let name = name.strip_prefix("event: ").expect("an event has a name");
                    events.push((name.to_owned(), serde_json::from_str(data).expect("it is JSON")));
                    text = rest.to_owned();
                    if let Some(told) = &told {
                        drop(told.send(id.clone()));
                    }
                }
            }
            events
        }
    }

    /// Tells it to end; what it says of it, when it ends well.
    fn end(&mut self, signal: &str) -> String {
        self.program.send(signal);
        let (status, rest) = self.program.rest();
        assert_eq!(status.code(), Some(0), "{rest}");
        rest
    }
}
