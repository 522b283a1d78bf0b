//! Sending through the client itself, with the variables of the environment.

use std::fmt::Write as _;
use std::time::Duration;

use langfuse_edge::config::{Setting, Setup};
use langfuse_edge::exporter::Settings;
use langfuse_edge::{FlushReport, Langfuse, Options, ScoreTarget, SpanContext};

use super::http::{Http, Keys};
use super::report::Verdict;

/// A trace that has arrived.
pub(super) struct Sent {
    pub(super) context: SpanContext,
}

pub(super) struct Delivery<'a> {
    pub(super) http: &'a Http,
    pub(super) keys: &'a Keys,
    pub(super) options: Options,
    pub(super) budget: Duration,
}

/// What a request without anything in it looks like: the status of the answer says what keeps the others from being taken.
const NO_TRACES: (&str, &str) = ("otel/v1/traces", r#"{"resourceSpans":[]}"#);
const NO_SCORES: (&str, &str) = ("ingestion", r#"{"batch":[]}"#);

/// The name of what is sent, in Langfuse.
const NAME: &str = "langfuse-edge doctor";
/// In each of three fields, so that one request is nearly as large as they get.
const LARGE_FIELD: usize = 1_000_000;
const LARGE_BODY: u64 = 3 * LARGE_FIELD as u64;

impl Delivery<'_> {
    /// One of its own for each check, so that none reports what another could not deliver. It keeps every trace, and sends
    /// when it is told to.
    fn client(&self) -> Result<Langfuse, Verdict> {
        let options = self
            .options
            .clone()
            .with(Setting::SampleRate, "1")
            .with(Setting::FlushAt, Settings::default().queue_records.to_string())
            .with(Setting::FlushInterval, "0");
        Langfuse::new(&options).map_err(|error| {
            Verdict::failed(format!("the client cannot be made: {error}"), "correct what it names")
        })
    }

    async fn flush(&self, client: Langfuse) -> FlushReport {
        let report = client.flush_within(self.budget).await;
        if report.retained > 0 {
            // The last clone would wait for it, and nobody needs what is left.
            std::mem::forget(client);
        }
        report
    }

    pub(super) async fn trace(&self) -> (Verdict, Option<Sent>) {
        let client = match self.client() {
            Ok(client) => client,
            Err(verdict) => return (verdict, None),
        };
        let observation = client.observe(NAME).trace_name(NAME).input("Can you hear me?").start();
        let sent = Sent { context: observation.context() };
        observation.end();
        let report = self.flush(client).await;
        if !report.ok {
            return (self.undelivered(&report, NO_TRACES).await, None);
        }
        let trace_id = sent.context.trace_id.to_hex();
        (Verdict::ok(format!("delivered in {} ms, trace {trace_id}", report.duration_ms)), Some(sent))
    }

    pub(super) async fn score(&self, sent: Option<&Sent>) -> Verdict {
        let client = match self.client() {
            Ok(client) => client,
            Err(verdict) => return verdict,
        };
        let target = match sent {
            Some(sent) => ScoreTarget::Trace(sent.context.trace_id),
            None => ScoreTarget::Session(NAME.to_owned()),
        };
        client.score(target, NAME, true).create();
        let report = self.flush(client).await;
        if report.ok {
            return Verdict::ok(format!("delivered in {} ms", report.duration_ms));
        }
        self.undelivered(&report, NO_SCORES).await
    }

    pub(super) async fn limits(&self, sent: &Sent) -> Verdict {
        let Settings { queue_records, .. } = Settings::default();
        if let Ok(Setup::Enabled(config)) = self.options.parse()
            && config.flush_at() as usize > queue_records
        {
            return Verdict::failed(
                format!("LANGFUSE_FLUSH_AT is above the {queue_records} records that wait at most"),
                format!(
                    "set it to {queue_records} or less, or unset it: the oldest records would be dropped"
                ),
            );
        }
        let client = match self.client() {
            Ok(client) => client,
            Err(verdict) => return verdict,
        };
        let text = incompressible(LARGE_FIELD);
        let observation = client.observe("a large observation").parent(sent.context).start();
        observation.input(&text).output(&text).metadata("large", &text);
        observation.end();
        let report = self.flush(client).await;
        // Each attempt that is not the whole of it is of what was left after the server refused its size.
        let is_cut = report.bytes < report.attempts * LARGE_BODY;
        if !report.ok && !is_cut {
            return self.undelivered(&report, NO_TRACES).await;
        }
        if is_cut {
            return Verdict::failed(
                "no request of 3 MB is taken: large observations lose input and output",
                "let the proxy in front of the server pass bodies of 4 MB (in nginx: client_max_body_size 4m)",
            );
        }
        Verdict::ok(format!(
            "a request of 3 MB is taken ({} ms); {queue_records} records may wait",
            report.duration_ms
        ))
    }

    /// Why a flush has not delivered all it had.
    async fn undelivered(&self, report: &FlushReport, (path, nothing): (&str, &'static str)) -> Verdict {
        let FlushReport { attempts, requests, duration_ms, .. } = report;
        if let Some(rejection) = report.rejected.first() {
            let why = format!("the server refuses it with {}: {}", rejection.status, rejection.message);
            return Verdict::failed(why, fix(rejection.status));
        }
        if *requests == 0 {
            return Verdict::failed(
                format!("no answer within {duration_ms} ms, attempts: {attempts}"),
                "look for a proxy or firewall that holds POST requests back, or try a longer --timeout",
            );
        }
        match self.http.post(path, self.keys, nothing).await {
            Ok(status) if status >= 400 => Verdict::failed(
                format!("POST /api/public/{path} answers {status}, attempts: {attempts}"),
                fix(status),
            ),
            _ => Verdict::failed(
                format!("not taken within {duration_ms} ms, attempts: {attempts}"),
                "the server takes requests now and then: look at its logs, or try again",
            ),
        }
    }
}

fn fix(status: u16) -> &'static str {
    match status {
        401 => "copy both keys again from the project's settings",
        403 => {
            "look at the usage of your plan, at whose end Langfuse takes no more, and use keys of a project"
        }
        404 | 405 => {
            "let the proxy in front of the server pass POST requests to /api/public, or update the server"
        }
        413 => "let the proxy in front of the server pass larger bodies",
        429 => "the rate limit of your plan is reached: try again in a minute",
        500..=599 => "the server or its storage is away: look at its logs, or try again later",
        _ => "look at the server's logs",
    }
}

/// Hexadecimal digits, of which compression leaves half.
fn incompressible(length: usize) -> String {
    let mut text = String::with_capacity(length + 16);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    while text.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Writing into a string cannot fail.
        let _ = write!(text, "{state:016x}");
    }
    text.truncate(length);
    text
}
