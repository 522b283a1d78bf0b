//! Random stories: whatever the program, its drivers, the clock and the server do, the accounts are right, no
//! record is lost without a reason, and none is sent twice without need.
//!
//! `PROPTEST_CASES=1000000 cargo test --test it simulation` runs longer than CI does.

mod bytes;
mod entry;
mod lane;
mod ledger;
mod server;
mod tally;
mod world;

use std::cell::RefCell;
use std::time::Duration;

use langfuse_edge::exporter::Settings;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};

use crate::host::{millis, secs};
use bytes::Recorded;
use server::Answer;
use tally::Tally;
use world::{Overflow, World};

const CASES: u32 = 10_000;
const A_YEAR: Duration = secs(365 * 86_400);
const REGRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/simulation.proptest-regressions");

/// Something that happens. Drivers and requests are named by a number that counts round those there are.
#[derive(Clone, Debug)]
enum Step {
    Push { count: usize, recorded: Recorded },
    BeginFlush { budget_ms: u64, traces: Option<Vec<u8>>, overflow: Option<Overflow> },
    Poll { driver: usize },
    PollWhatIsOver { flush: usize },
    Answer { request: usize, answer: Answer, is_heard: bool },
    ServeAll { rounds: usize },
    AnswerAgain { request: usize },
    AnswerUnknown { number: f64, status: u16 },
    Die { driver: usize },
    Wait { ms: u64 },
    SetClock { ms: i64 },
    Lose { records: u64 },
}

/// How a story ends.
#[derive(Clone, Debug)]
enum End {
    Heal { is_cured: bool },
    ShutDown { budget_ms: u64, rounds: usize },
}

#[test]
fn whatever_happens_every_record_is_accounted_for_and_delivered_in_the_end() {
    let config = Config {
        // The default reads PROPTEST_CASES.
        cases: std::env::var("PROPTEST_CASES").map_or(CASES, |_| Config::default().cases),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
        max_shrink_iters: 20_000,
        ..Config::default()
    };
    let cases = config.cases;
    let tally = RefCell::new(Tally::default());
    let stories = (settings(), server_limit(), vec(step(), 1..80), end());
    let result = TestRunner::new(config).run(&stories, |(settings, server_limit, steps, end)| {
        let mut world = World::new(settings, server_limit);
        for step in &steps {
            play(&mut world, step);
        }
        match end {
            End::Heal { is_cured } => world.heal(is_cured),
            End::ShutDown { budget_ms, rounds } => world.shut_down(millis(budget_ms), rounds),
        }
        tally.borrow_mut().add(world.tally());
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
    let tally = tally.into_inner();
    assert!(cases < CASES || tally.least() > u64::from(CASES) / 100, "too tame: {tally:?}");
}

fn play(world: &mut World, step: &Step) {
    match *step {
        Step::Push { count, recorded } => {
            for _ in 0..count {
                world.push(recorded);
            }
        }
        Step::BeginFlush { budget_ms, ref traces, overflow } => {
            world.begin_flush(millis(budget_ms), traces.clone(), overflow);
        }
        Step::Poll { driver } => world.poll_early(driver),
        Step::PollWhatIsOver { flush } => world.poll_what_is_over(flush),
        Step::Answer { request, answer, is_heard } => world.answer(request, answer, is_heard),
        Step::ServeAll { rounds } => world.serve_all(rounds),
        Step::AnswerAgain { request } => world.answer_again(request),
        Step::AnswerUnknown { number, status } => world.answer_unknown(number, status),
        Step::Die { driver } => world.kill(driver),
        Step::Wait { ms } => world.wait(millis(ms)),
        Step::SetClock { ms } => world.set_clock(ms),
        Step::Lose { records } => world.lose(records),
    }
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0..16_usize;
    prop_oneof![
        5 => (1..8_usize, recorded()).prop_map(|(count, recorded)| Step::Push { count, recorded }),
        4 => (prop_oneof![0..100_u64, 1000..60_000_u64], traces(), overflow()).prop_map(
            |(budget_ms, traces, overflow)| Step::BeginFlush { budget_ms, traces, overflow }
        ),
        2 => which.clone().prop_map(|driver| Step::Poll { driver }),
        1 => which.clone().prop_map(|flush| Step::PollWhatIsOver { flush }),
        8 => (which.clone(), answer(), prop::bool::weighted(0.9)).prop_map(
            |(request, answer, is_heard)| Step::Answer { request, answer, is_heard }
        ),
        2 => (1..12_usize).prop_map(|rounds| Step::ServeAll { rounds }),
        1 => which.clone().prop_map(|request| Step::AnswerAgain { request }),
        1 => (select(vec![0.0, 1.0, 1e9, f64::NAN]), select(vec![200, 400, 413, 503]))
            .prop_map(|(number, status)| Step::AnswerUnknown { number, status }),
        1 => which.prop_map(|driver| Step::Die { driver }),
        6 => prop_oneof![3 => 0..300_u64, 2 => 300..15_000_u64, 1 => 15_000..100_000_u64]
            .prop_map(|ms| Step::Wait { ms }),
        1 => (1..4_u64).prop_map(|records| Step::Lose { records }),
        1 => prop_oneof![-20_000..20_000_i64, -4_000_000..4_000_000_i64].prop_map(|ms| Step::SetClock { ms }),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => any::<bool>().prop_map(|is_cured| End::Heal { is_cured }),
        1 => (0..30_000_u64, 0..12_usize).prop_map(|(budget_ms, rounds)| End::ShutDown { budget_ms, rounds }),
    ]
}

fn recorded() -> impl Strategy<Value = Recorded> {
    (prop::bool::weighted(0.35), 0..4_u8, bytes(), any::<bool>(), prop::bool::weighted(0.1)).prop_map(
        |(is_score, trace, bytes, has_payload, is_poisonous)| {
            // An observation is always of some trace.
            let trace = if is_score { trace } else { trace.max(1) };
            Recorded { is_score, trace, bytes, has_payload, is_poisonous }
        },
    )
}

/// The last of them has no records.
fn traces() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![2 => Just(None), 1 => vec(1..5_u8, 0..4).prop_map(Some)]
}

/// Messages for nothing, for a record, for several, and for all.
fn overflow() -> impl Strategy<Value = Option<Overflow>> {
    let bytes = prop_oneof![0..100_usize, 200..1500_usize, 1500..40_000_usize, Just(128_000)];
    let overflow = (bytes, select(vec![Some(true), Some(true), Some(false), None]));
    prop::option::weighted(0.4, overflow.prop_map(|(bytes, accepts)| Overflow { bytes, accepts }))
}

/// Of what is recorded, beside some 100 bytes that every record has.
fn bytes() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0..30_usize, 3 => 0..600_usize, 1 => 600..5000_usize, 1 => 5000..40_000_usize]
}

fn answer() -> impl Strategy<Value = Answer> {
    let retry_after = select(vec![None, None, Some("0"), Some("2"), Some("45"), Some("700"), Some("soon")]);
    prop_oneof![
        10 => Just(Answer::Honest),
        3 => (verdicts(), retry_after.clone())
            .prop_map(|(statuses, retry_after)| Answer::Verdicts(statuses, retry_after)),
        2 => select(vec![200, 400, 413, 422]).prop_map(|status| Answer::Status(status, None)),
        2 => (select(vec![207, 408, 425, 429, 500, 503]), retry_after)
            .prop_map(|(status, retry_after)| Answer::Status(status, retry_after)),
        1 => select(vec![0, 301, 401, 403, 404]).prop_map(|status| Answer::Status(status, None)),
        1 => Just(Answer::Refused),
        1 => any::<bool>().prop_map(|has_arrived| Answer::Lost { has_arrived }),
    ]
}

fn verdicts() -> impl Strategy<Value = [u16; 4]> {
    prop::array::uniform4(select(vec![200, 201, 201, 400, 404, 413, 408, 429, 500, 503, 0]))
}

/// A server that takes anything, one behind a proxy, and one that takes next to nothing.
fn server_limit() -> impl Strategy<Value = usize> {
    prop_oneof![Just(usize::MAX), 10_000..40_000_usize, 250..2000_usize]
}

fn settings() -> impl Strategy<Value = Settings> {
    let limits = prop_oneof![
        2 => (200..4000_usize, 0..20_usize, 1..1500_usize, 0..6_usize),
        2 => (20_000..100_000_usize, 5..100_usize, 1000..40_000_usize, 1..64_usize),
        1 => Just({
            let Settings { queue_bytes, queue_records, batch_bytes, batch_records, .. } = Settings::default();
            (queue_bytes, queue_records, batch_bytes, batch_records)
        }),
    ];
    let max_age = select(vec![A_YEAR, A_YEAR, secs(60)]);
    (limits, select(vec![secs(1), secs(10)]), max_age, prop::bool::weighted(0.25)).prop_map(
        |((queue_bytes, queue_records, batch_bytes, batch_records), attempt_timeout, max_age, gives_up)| {
            let mut settings = Settings::default();
            settings.max_age = max_age;
            settings.gives_up_ambiguous = gives_up;
            settings.queue_bytes = queue_bytes;
            settings.queue_records = queue_records;
            settings.batch_bytes = batch_bytes;
            settings.batch_records = batch_records;
            settings.attempt_timeout = attempt_timeout;
            settings
        },
    )
}
