use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, SystemTime};

use langfuse_edge::{
    Context, Langfuse, Level, Observation, ObservationBuilder, ObservationHandle, ObservationKind, Options,
    PropagatedAttributes, SpanContext, Timestamp, TraceId, Usage,
};
use serde::Serialize;
use serde_json::json;

use crate::receiver::Receiver;

fn then() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_750_000_000_123)
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'a str,
    content: &'a str,
}

#[tokio::test]
async fn observations_of_all_ten_kinds_arrive_below_their_parent() {
    type Begin = fn(&ObservationHandle, &'static str) -> ObservationBuilder;
    let kinds: [(&str, Begin); 10] = [
        ("SPAN", ObservationHandle::span),
        ("GENERATION", ObservationHandle::generation),
        ("EVENT", ObservationHandle::event),
        ("AGENT", ObservationHandle::agent),
        ("TOOL", ObservationHandle::tool),
        ("CHAIN", ObservationHandle::chain),
        ("RETRIEVER", ObservationHandle::retriever),
        ("EVALUATOR", ObservationHandle::evaluator),
        ("EMBEDDING", ObservationHandle::embedding),
        ("GUARDRAIL", ObservationHandle::guardrail),
    ];
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let root = langfuse.agent("root").start();
    for (kind, begin) in kinds {
        begin(&root, kind).record();
    }
    root.end();

    assert!(langfuse.flush().await.ok);

    for (kind, _) in kinds {
        let row = receiver.row(kind).await;
        assert_eq!((&row["type"], &row["parentObservationId"]), (&json!(kind), &json!(root.id().to_hex())));
    }
}

#[tokio::test]
async fn everything_that_can_be_said_arrives_whether_it_is_said_before_or_after_the_start() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let messages = [Message { role: "user", content: "Why?" }];
    let first_token = Timestamp::from(then());
    macro_rules! saying_everything {
        ($observation:expr) => {
            $observation
                .input(&messages)
                .output("Because.")
                .metadata("attempt", &2)
                .level(Level::Debug)
                .status_message("fine")
                .version("1.2.3")
                .environment("staging")
                .model("gpt-4o")
                .model_parameters(&json!({ "temperature": 0.5 }))
                .usage_details(&json!({ "input": 5, "input_cached": 3, "output": 7 }))
                .cost_details(&json!({ "input": 0.001 }))
                .completion_start_time(first_token)
                .prompt("answer", 3)
        };
    }
    let before = saying_everything!(langfuse.generation("before")).start();
    let after = langfuse.generation("after").start();
    saying_everything!(after).end();
    before.end();

    assert!(langfuse.flush().await.ok);

    for name in ["before", "after"] {
        let row = receiver.row(name).await;
        assert_eq!(row["input"], r#"[{"role":"user","content":"Why?"}]"#, "{row}");
        assert_eq!(row["output"], "Because.");
        assert_eq!(row["metadata"]["attempt"], "2");
        assert_eq!((&row["level"], &row["statusMessage"]), (&json!("DEBUG"), &json!("fine")));
        assert_eq!((&row["version"], &row["environment"]), (&json!("1.2.3"), &json!("staging")));
        assert_eq!(row["providedModelName"], "gpt-4o");
        assert_eq!(row["modelParameters"], json!({ "temperature": 0.5 }));
        assert_eq!(row["usageDetails"], json!({ "input": 5, "input_cached": 3, "output": 7, "total": 15 }));
        assert_eq!(row["costDetails"]["input"], 0.001);
        assert_eq!(row["completionStartTime"], json!(first_token.to_iso8601()));
        assert_eq!((&row["promptName"], &row["promptVersion"]), (&json!("answer"), &json!(3)));
    }
}

#[tokio::test]
async fn what_is_said_of_a_trace_is_on_all_its_observations() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let root = langfuse
        .observe("root")
        .user_id("u-1")
        .session_id("s-1")
        .trace_name("chat")
        .tag("beta")
        .tag("mail")
        .trace_metadata("plan", "pro")
        .public()
        .start();
    root.observe("child").start().end();
    root.end();

    assert!(langfuse.flush().await.ok);

    for name in ["root", "child"] {
        let row = receiver.row(name).await;
        assert_eq!((&row["userId"], &row["sessionId"]), (&json!("u-1"), &json!("s-1")), "{row}");
        assert_eq!((&row["traceName"], &row["tags"]), (&json!("chat"), &json!(["beta", "mail"])));
        assert_eq!(row["public"], true);
    }
    assert_eq!(receiver.row("root").await["metadata"]["plan"], "pro");
}

#[tokio::test]
async fn an_observation_that_is_dropped_ends_and_says_when_that_was_a_panic() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    {
        let _kept = langfuse.observe("dropped").start();
    }
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _kept = langfuse.observe("unwound").status_message("half done").start();
        panic!("on purpose");
    }));

    let report = langfuse.flush().await;

    assert!(panicked.is_err() && report.delivered == 2, "{report:?}");
    assert_eq!(receiver.row("dropped").await["level"], "DEFAULT");
    let unwound = receiver.row("unwound").await;
    assert_eq!(
        (&unwound["level"], &unwound["statusMessage"]),
        (&json!("ERROR"), &json!("half done (panicked)"))
    );
}

#[tokio::test]
async fn an_observation_ends_once_and_what_is_said_afterwards_is_lost() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let start = then();
    let observation = langfuse.observe("once").start_time(start.into()).start();
    observation.end_at((start + Duration::from_secs(2)).into());
    observation.output("late").end();
    drop(observation);

    let report = langfuse.flush().await;

    let row = receiver.row("once").await;
    assert_eq!((report.delivered, &row["output"]), (1, &json!(null)));
    assert_eq!(row["startTime"], json!(Timestamp::from(start).to_iso8601()));
    assert_eq!(row["endTime"], json!(Timestamp::from(start + Duration::from_secs(2)).to_iso8601()));
}

#[tokio::test]
async fn a_trace_goes_on_in_another_service_and_a_header_that_is_none_begins_a_new_one() {
    let receiver = Receiver::start();
    let (one, other) = (receiver.client(), receiver.client());
    let caller = one.observe("caller").start();
    let header = caller.traceparent();
    other.observe("callee").traceparent(header.as_str()).start().end();
    other.observe("new").traceparent("nonsense").start().end();
    other.observe("also new").traceparent(None).start().end();
    caller.end();

    assert!(one.flush().await.ok && other.flush().await.ok);

    assert_eq!(header, format!("00-{}-{}-01", caller.trace_id(), caller.id()));
    assert_eq!(SpanContext::from_traceparent(&header).ok(), Some(caller.context()));
    let callee = receiver.row("callee").await;
    assert_eq!(callee["traceId"], json!(caller.trace_id().to_hex()));
    assert_eq!(callee["parentObservationId"], json!(caller.id().to_hex()));
    for name in ["new", "also new"] {
        let row = receiver.row(name).await;
        assert_ne!(row["traceId"], callee["traceId"]);
        assert_eq!(row["parentObservationId"], json!(null));
    }
}

#[tokio::test]
async fn a_trace_can_have_the_id_of_a_text() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let trace_id = TraceId::from_seed("order-7");
    langfuse.observe("outer").start().in_scope(|| {
        langfuse.observe("root").trace_id(trace_id).start().observe("child").start().end();
    });

    assert!(langfuse.flush().await.ok);

    let (root, child) = (receiver.row("root").await, receiver.row("child").await);
    assert_eq!((&root["traceId"], &root["parentObservationId"]), (&json!(trace_id.to_hex()), &json!(null)));
    assert_eq!((&child["traceId"], &child["parentObservationId"]), (&root["traceId"], &root["id"]));
}

#[tokio::test]
async fn a_builder_takes_what_it_is_not_told_from_the_environment_and_names_what_it_cannot_use() {
    let receiver = Receiver::start();
    let langfuse = Langfuse::builder()
        .keys("pk-lf-dev", "sk-lf-dev")
        .base_url(&receiver.url)
        .environment("staging")
        .release("r-1")
        .sample_rate(1.0)
        .timeout(Duration::from_millis(2500))
        .flush_at(1000)
        .flush_interval(Duration::from_secs(3600))
        .build()
        .expect("it can be used");
    langfuse.observe("work").start().end();

    assert!(langfuse.flush().await.ok);

    let row = receiver.row("work").await;
    assert_eq!((&row["environment"], &row["release"]), (&json!("staging"), &json!("r-1")));
    let error =
        Langfuse::builder().keys("pk-lf-dev", "sk-lf-dev").sample_rate(2.0).build().expect_err("too much");
    assert!(error.is_configuration() && error.to_string().contains("sampleRate"), "{error}");
    assert!(!Langfuse::builder().enabled(false).build().expect("it is disabled").is_enabled());
}

#[test]
fn clients_and_observations_can_be_used_from_any_thread() {
    fn any_thread<T: Send + Sync + 'static>() {}
    any_thread::<Langfuse>();
    any_thread::<Observation>();
    any_thread::<ObservationHandle>();
    any_thread::<ObservationBuilder>();
    any_thread::<Context>();
    any_thread::<PropagatedAttributes>();
    any_thread::<Options>();
    fn any_thread_too<T: Send>(_: &T) {}
    let langfuse = Langfuse::disabled();
    any_thread_too(&langfuse.flush());
    any_thread_too(&langfuse.observe("x").kind(ObservationKind::Tool).start().scope(async {}));
    assert_eq!(size_of::<Langfuse>(), size_of::<usize>(), "a clone is one counter");
}

#[tokio::test]
async fn what_is_not_recorded_is_not_serialized() {
    struct Unreadable;
    impl Serialize for Unreadable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            unreachable!("nobody asks for it")
        }
    }
    let receiver = Receiver::start();
    let langfuse = Langfuse::new(&receiver.options().sample_rate(0.0)).expect("valid options");
    let sampled_out = langfuse.observe("x").input(&Unreadable).start();
    sampled_out.output(&Unreadable).usage(Usage::new(1, 2));
    let child = sampled_out.observe("x").input(&Unreadable).start();
    let disabled = Langfuse::disabled().observe("x").input(&Unreadable).start();
    disabled.output(&Unreadable).metadata("x", &Unreadable);

    assert!(!sampled_out.is_open() && !child.is_open() && !disabled.is_open());
}

#[tokio::test]
async fn a_trace_is_one_whatever_is_said_of_its_root_and_in_which_order() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let caller = SpanContext::from_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let caller = caller.expect("it is one");
    let continued = langfuse.observe("continued").input("first").parent(caller).output("then").start();
    let own = langfuse.observe("own").input("first").trace_id(TraceId::from_seed("x")).output("then").start();
    let new = langfuse.observe("new").input("first").start();
    new.observe("child").input("first").start().end();

    assert_eq!((continued.trace_id(), own.trace_id()), (caller.trace_id, TraceId::from_seed("x")));
    assert_ne!(continued.id(), caller.observation_id);
    drop((continued, own, new));
    assert_eq!(langfuse.flush().await.delivered, 4);
    assert_eq!(receiver.row("child").await["traceId"], receiver.row("new").await["traceId"]);
    assert_eq!(receiver.row("new").await["parentObservationId"], json!(null));
}

#[tokio::test]
async fn an_observation_that_several_threads_change_and_end_at_once_is_recorded_once() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    for _ in 0..50 {
        let observations: Vec<_> =
            (0..20).map(|number| langfuse.observe(format!("{number}")).start()).collect();
        thread::scope(|scope| {
            for thread in 0..4 {
                let handles: Vec<ObservationHandle> =
                    observations.iter().map(|observation| (**observation).clone()).collect();
                scope.spawn(move || {
                    for handle in handles {
                        handle.metadata("thread", &thread).output("done").end();
                        handle.observe("child").record();
                    }
                });
            }
        });
        assert!(!observations.iter().any(|observation| observation.is_open()));
    }

    assert!(langfuse.flush().await.ok);

    let stats = langfuse.stats();
    assert_eq!((stats.recorded, stats.delivered), (5000, 5000), "of 1000, each with 4 children");
    assert_eq!(receiver.state("duplicates").await, 0);
}
