//! A receiver of its own for each test.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use langfuse_edge::{Langfuse, Options};
use serde_json::Value;

pub(crate) struct Receiver {
    pub(crate) url: String,
    process: Child,
    http: reqwest::Client,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_langfuse-edge"))
            .args(["dev", "--port", "0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the receiver starts");
        let mut first_line = String::new();
        let stdout = process.stdout.take().expect("its output is piped");
        BufReader::new(stdout).read_line(&mut first_line).expect("it says where it listens");
        let (_, url) = first_line.trim().split_once(" on ").expect("its first line ends in its URL");
        Self { url: url.to_owned(), process, http: reqwest::Client::new() }
    }

    pub(crate) fn options(&self) -> Options {
        Options::default().keys("pk-lf-dev", "sk-lf-dev").base_url(&self.url)
    }

    pub(crate) fn client(&self) -> Langfuse {
        Langfuse::new(&self.options()).expect("the options are valid")
    }

    pub(crate) async fn fault(&self, fault: &str) {
        let response = self.http.post(format!("{}/dev/faults", self.url)).body(fault.to_owned());
        let response = response.header("content-type", "application/json").send().await.expect("it answers");
        assert!(response.status().is_success(), "the receiver knows the fault {fault}");
    }

    pub(crate) async fn state(&self, name: &str) -> u64 {
        let state: Value = serde_json::from_str(&self.get("state").await).expect("the state is JSON");
        state[name].as_u64().unwrap_or_else(|| panic!("the state has a number {name}: {state}"))
    }

    pub(crate) async fn scores(&self) -> Vec<Value> {
        serde_json::from_str(&self.get("scores").await).expect("the scores are JSON")
    }

    /// The observation of this name, as Langfuse would store it.
    pub(crate) async fn row(&self, name: &str) -> Value {
        let found = self.rows(name).await.into_iter().next();
        found.unwrap_or_else(|| panic!("an observation {name} has arrived"))
    }

    /// The observations of this name in the order in which they came.
    pub(crate) async fn rows(&self, name: &str) -> Vec<Value> {
        let mut rows: Vec<Value> = serde_json::from_str(&self.get("rows").await).expect("the rows are JSON");
        rows.retain(|row| row["name"] == name);
        rows
    }

    /// What arrived, without times and ids.
    pub(crate) async fn trees(&self) -> String {
        self.get("trees?format=text&normalized=true").await
    }

    pub(crate) async fn get(&self, path: &str) -> String {
        let response = self.http.get(format!("{}/dev/{path}", self.url)).send().await.expect("it answers");
        response.text().await.expect("the answer is text")
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
