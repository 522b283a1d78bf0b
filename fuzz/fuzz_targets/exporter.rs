//! Any sequence of calls, clocks and answers keeps the accounts right and the queue within its bounds.

#![no_main]

use std::sync::Arc;
use std::time::Duration;

use arbitrary::Arbitrary;
use langfuse_edge::exporter::{Action, Exporter, FlushId, FlushSettings, LeaseId, Request, Scope, Settings};
use langfuse_edge::observation::{Attributes, Field, ObservationData, ObservationKind};
use langfuse_edge::retry::{Outcome, Verdict};
use langfuse_edge::wire::{Record, RecordKind, ScoreData, encode, encode_score};
use langfuse_edge::{FlushReport, ObservationId, SpanContext, Stats, Timestamp, TraceId};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    queue_bytes: u16,
    queue_records: u8,
    batch_bytes: u16,
    batch_records: u8,
    attempt_timeout_ms: u16,
    max_age_ms: u32,
    gives_up_ambiguous: bool,
    calls: Vec<Call<'a>>,
}

#[derive(Arbitrary, Debug)]
enum Call<'a> {
    Push {
        bytes: u16,
        has_payload: bool,
        trace: u8,
    },
    PushScore {
        bytes: u16,
        trace: Option<u8>,
    },
    CountLost {
        records: u8,
    },
    BeginFlush {
        budget_ms: u64,
        traces: Option<[u8; 2]>,
        overflow_bytes: Option<u16>,
    },
    BeginShutdown {
        budget_ms: u64,
    },
    Poll {
        flush: u8,
    },
    PollAny {
        flush: f64,
    },
    Respond {
        request: u8,
        status: u16,
        retry_after: Option<u16>,
        message: &'a str,
    },
    /// 207, with these statuses for the events of a request in turn; one without is passed over.
    Judge {
        request: u8,
        statuses: Vec<Option<u16>>,
    },
    RespondToAny {
        lease: f64,
        status: u16,
    },
    Fail {
        request: u8,
        ambiguous: bool,
    },
    HandOver {
        request: u8,
        is_accepted: bool,
    },
    Wait {
        ms: u32,
    },
    SetClock {
        nanos: u64,
    },
}

struct Sent {
    lease: LeaseId,
    kind: RecordKind,
    body: Vec<u8>,
}

fuzz_target!(|input: Input<'_>| {
    let mut settings = Settings::default();
    settings.queue_bytes = input.queue_bytes.into();
    settings.queue_records = input.queue_records.into();
    settings.batch_bytes = input.batch_bytes.into();
    settings.batch_records = input.batch_records.into();
    settings.attempt_timeout = Duration::from_millis(input.attempt_timeout_ms.into());
    settings.max_age = Duration::from_millis(input.max_age_ms.into());
    settings.gives_up_ambiguous = input.gives_up_ambiguous;
    let mut exporter = Exporter::new(settings);
    let mut now = Timestamp::from_millis(1_700_000_000_000);
    let (mut recorded, mut flushes, mut requests) = (0, Vec::new(), Vec::new());
    let mut before = exporter.stats();
    for call in input.calls {
        match call {
            Call::Push { bytes, has_payload, trace } => {
                recorded += 1;
                exporter.push(observation(recorded, trace, bytes.into(), has_payload), now);
            }
            Call::PushScore { bytes, trace } => {
                recorded += 1;
                exporter.push(score(recorded, trace, bytes.into()), now);
            }
            Call::CountLost { records } => {
                recorded += u64::from(records);
                exporter.count_lost(records.into());
            }
            Call::BeginFlush { budget_ms, traces, overflow_bytes } => {
                let mut settings = FlushSettings::from(Duration::from_millis(budget_ms));
                if let Some(traces) = traces {
                    settings.scope = Scope::Traces(traces.map(trace_id).into());
                }
                settings.overflow_bytes = overflow_bytes.map(usize::from);
                flushes.push(exporter.begin_flush(settings, now));
            }
            Call::BeginShutdown { budget_ms } => {
                flushes
                    .push(exporter.begin_flush(FlushSettings::last(Duration::from_millis(budget_ms)), now));
            }
            Call::Poll { flush } => {
                if let Some(flush) = pick(&flushes, flush) {
                    poll(&mut exporter, *flush, now, &mut requests);
                }
            }
            Call::PollAny { flush } => poll(&mut exporter, FlushId::from_f64(flush), now, &mut requests),
            Call::Respond { request, status, retry_after, message } => {
                if let Some(sent) = pick(&requests, request) {
                    let retry_after = retry_after.map(|seconds| Duration::from_secs(seconds.into()));
                    let message = message.to_owned();
                    let outcome = Outcome::Response { status, retry_after, message, verdicts: Vec::new() };
                    exporter.handle_response(sent.lease, &outcome, now);
                }
            }
            Call::Judge { request, statuses } => {
                if let Some(sent) = pick(&requests, request) {
                    exporter.handle_response(sent.lease, &judged(sent, &statuses), now);
                }
            }
            Call::RespondToAny { lease, status } => {
                exporter.handle_response(LeaseId::from_f64(lease), &response(status, Vec::new()), now);
            }
            Call::Fail { request, ambiguous } => {
                if let Some(sent) = pick(&requests, request) {
                    exporter.handle_response(sent.lease, &Outcome::Failed { ambiguous }, now);
                }
            }
            // Also of a request to the server: a driver that mixes them up must not upset the accounts.
            Call::HandOver { request, is_accepted } => {
                if let Some(sent) = pick(&requests, request) {
                    exporter.handle_hand_over(sent.lease, is_accepted);
                }
            }
            Call::Wait { ms } => now = now + Duration::from_millis(ms.into()),
            Call::SetClock { nanos } => now = Timestamp::from_nanos(nanos),
        }
        let stats = exporter.stats();
        check(&stats, &before, &settings, recorded);
        before = stats;
    }
});

fn poll(exporter: &mut Exporter, flush: FlushId, now: Timestamp, requests: &mut Vec<Sent>) {
    match exporter.poll(flush, now) {
        Action::Send(request) | Action::HandOver(request) => {
            let Request { lease, kind, body, .. } = request;
            assert!(!body.is_empty());
            if kind == RecordKind::Score {
                assert!(!event_ids(&body).is_empty());
            }
            requests.push(Sent { lease, kind, body });
        }
        Action::WaitUntil(_) => (),
        Action::Done(report) => check_report(&report),
    }
}

fn judged(sent: &Sent, statuses: &[Option<u16>]) -> Outcome {
    let ids = if sent.kind == RecordKind::Score { event_ids(&sent.body) } else { Vec::new() };
    let judged = ids.into_iter().zip(statuses.iter().cycle());
    let verdicts =
        judged.filter_map(|(id, status)| Some(Verdict { id, status: (*status)?, message: String::new() }));
    response(207, verdicts.collect())
}

fn response(status: u16, verdicts: Vec<Verdict>) -> Outcome {
    Outcome::Response { status, retry_after: None, message: String::new(), verdicts }
}

/// The ids of the events in a body of scores.
fn event_ids(body: &[u8]) -> Vec<String> {
    let body: serde_json::Value = serde_json::from_slice(body).expect("a body of scores is JSON");
    let events = body["batch"].as_array().expect("a body of scores has a batch");
    events.iter().map(|event| event["id"].as_str().expect("an event has an id").to_owned()).collect()
}

fn check(stats: &Stats, before: &Stats, settings: &Settings, recorded: u64) {
    let settled = |stats: &Stats| stats.delivered + stats.rejected + stats.dropped + stats.handed_over;
    assert_eq!(stats.recorded, recorded);
    assert_eq!(stats.recorded, settled(stats) + stats.queued + stats.leased, "adds up: {stats:?}");
    assert!(
        stats.delivered >= before.delivered
            && stats.rejected >= before.rejected
            && stats.dropped >= before.dropped
            && stats.handed_over >= before.handed_over,
        "goes down: {before:?}, then {stats:?}"
    );
    assert!(stats.bytes <= settings.queue_bytes as u64, "{stats:?}");
    assert!(stats.queued + stats.leased <= settings.queue_records as u64, "{stats:?}");
}

fn check_report(report: &FlushReport) {
    let is_clean = report.retained + report.dropped + report.handed_over == 0 && report.rejected.is_empty();
    assert_eq!(report.ok, is_clean, "{report:?}");
    assert!(report.requests <= report.attempts, "{report:?}");
    assert!(report.rejected.iter().all(|rejection| rejection.message.len() <= 300), "{report:?}");
}

fn pick<T>(values: &[T], number: u8) -> Option<&T> {
    values.get(usize::from(number) % values.len().max(1))
}

fn trace_id(trace: u8) -> TraceId {
    TraceId::from_random([trace; 16])
}

fn score(number: u64, trace: Option<u8>, bytes: usize) -> Record {
    let body = format!(r#"{{"name":"{}","value":{number}}}"#, "x".repeat(bytes));
    encode_score(&ScoreData {
        id: None,
        trace_id: trace.map(trace_id),
        body: &body,
        environment: None,
        recorded: "2026-01-02T03:04:05.678Z",
    })
}

fn observation(number: u64, trace: u8, bytes: usize, has_payload: bool) -> Record {
    let mut attributes = Attributes::default();
    if has_payload {
        attributes.fields.set(Field::Input, "x".repeat(bytes));
    } else {
        attributes.metadata.set("notes", "x".repeat(bytes).into());
    }
    let observation = ObservationData {
        context: SpanContext {
            trace_id: trace_id(trace),
            observation_id: ObservationId::from_random(number.to_be_bytes()),
        },
        parent: None,
        is_local_root: false,
        kind: ObservationKind::Span,
        name: String::new(),
        start: Timestamp::from_millis(1),
        attributes,
        trace: Arc::default(),
    };
    encode(observation, Timestamp::from_millis(2), None, None)
}
