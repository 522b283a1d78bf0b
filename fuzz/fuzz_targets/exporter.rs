//! Any sequence of calls, clocks and answers keeps the accounts right and the queue within its bounds.

#![no_main]

use std::sync::Arc;
use std::time::Duration;

use arbitrary::Arbitrary;
use langfuse_edge::exporter::{Action, Exporter, FlushId, LeaseId, Settings};
use langfuse_edge::observation::{Attributes, Field, ObservationData, ObservationKind};
use langfuse_edge::retry::Outcome;
use langfuse_edge::wire::{Record, encode};
use langfuse_edge::{FlushReport, ObservationId, SpanContext, Stats, Timestamp, TraceId};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    queue_bytes: u16,
    queue_records: u8,
    batch_bytes: u16,
    batch_records: u8,
    attempt_timeout_ms: u16,
    calls: Vec<Call<'a>>,
}

#[derive(Arbitrary, Debug)]
enum Call<'a> {
    Push { bytes: u16, has_payload: bool },
    BeginFlush { budget_ms: u64 },
    Poll { flush: u8 },
    PollAny { flush: f64 },
    Respond { lease: u8, status: u16, retry_after: Option<u16>, message: &'a str },
    RespondToAny { lease: f64, status: u16 },
    Fail { lease: u8, ambiguous: bool },
    Wait { ms: u32 },
    SetClock { nanos: u64 },
}

fuzz_target!(|input: Input<'_>| {
    let mut settings = Settings::default();
    settings.queue_bytes = input.queue_bytes.into();
    settings.queue_records = input.queue_records.into();
    settings.batch_bytes = input.batch_bytes.into();
    settings.batch_records = input.batch_records.into();
    settings.attempt_timeout = Duration::from_millis(input.attempt_timeout_ms.into());
    let mut exporter = Exporter::new(settings);
    let mut now = Timestamp::from_millis(1_700_000_000_000);
    let (mut recorded, mut flushes, mut leases) = (0, Vec::new(), Vec::new());
    let mut before = exporter.stats();
    for call in input.calls {
        match call {
            Call::Push { bytes, has_payload } => {
                recorded += 1;
                exporter.push(record(recorded, bytes.into(), has_payload), now);
            }
            Call::BeginFlush { budget_ms } => {
                flushes.push(exporter.begin_flush(Duration::from_millis(budget_ms), now));
            }
            Call::Poll { flush } => {
                if let Some(flush) = pick(&flushes, flush) {
                    poll(&mut exporter, flush, now, &mut leases);
                }
            }
            Call::PollAny { flush } => poll(&mut exporter, FlushId::from_f64(flush), now, &mut leases),
            Call::Respond { lease, status, retry_after, message } => {
                if let Some(lease) = pick(&leases, lease) {
                    let retry_after = retry_after.map(|seconds| Duration::from_secs(seconds.into()));
                    let message = message.to_owned();
                    exporter.handle_response(lease, &Outcome::Response { status, retry_after, message, verdicts: Vec::new() }, now);
                }
            }
            Call::RespondToAny { lease, status } => {
                let outcome = Outcome::Response { status, retry_after: None, message: String::new(), verdicts: Vec::new() };
                exporter.handle_response(LeaseId::from_f64(lease), &outcome, now);
            }
            Call::Fail { lease, ambiguous } => {
                if let Some(lease) = pick(&leases, lease) {
                    exporter.handle_response(lease, &Outcome::Failed { ambiguous }, now);
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

fn poll(exporter: &mut Exporter, flush: FlushId, now: Timestamp, leases: &mut Vec<LeaseId>) {
    match exporter.poll(flush, now) {
        Action::Send(request) => {
            assert!(!request.body.is_empty());
            leases.push(request.lease);
        }
        Action::WaitUntil(_) => (),
        Action::Done(report) => check_report(&report),
    }
}

fn check(stats: &Stats, before: &Stats, settings: &Settings, recorded: u64) {
    let settled = |stats: &Stats| stats.delivered + stats.rejected + stats.dropped;
    assert_eq!(stats.recorded, recorded);
    assert_eq!(stats.recorded, settled(stats) + stats.queued + stats.leased, "adds up: {stats:?}");
    assert!(
        stats.delivered >= before.delivered
            && stats.rejected >= before.rejected
            && stats.dropped >= before.dropped,
        "goes down: {before:?}, then {stats:?}"
    );
    assert!(stats.bytes <= settings.queue_bytes as u64, "{stats:?}");
    assert!(stats.queued + stats.leased <= settings.queue_records as u64, "{stats:?}");
}

fn check_report(report: &FlushReport) {
    let is_clean = report.retained == 0 && report.dropped == 0 && report.rejected.is_empty();
    assert_eq!(report.ok, is_clean, "{report:?}");
    assert!(report.requests <= report.attempts, "{report:?}");
    assert!(report.rejected.iter().all(|rejection| rejection.message.len() <= 300), "{report:?}");
}

fn pick<T: Copy>(values: &[T], number: u8) -> Option<T> {
    values.get(usize::from(number) % values.len().max(1)).copied()
}

fn record(number: u64, bytes: usize, has_payload: bool) -> Record {
    let mut attributes = Attributes::default();
    if has_payload {
        attributes.fields.set(Field::Input, "x".repeat(bytes));
    } else {
        attributes.metadata.set("notes", "x".repeat(bytes).into());
    }
    let observation = ObservationData {
        context: SpanContext {
            trace_id: TraceId::from_random([0xab; 16]),
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
