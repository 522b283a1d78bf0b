//! Spans and events of `tracing`, as observations.

use langfuse_edge::{Langfuse, LangfuseLayer};
use serde_json::{Value, json};
use tracing::field::Empty;
use tracing::instrument::WithSubscriber as _;
use tracing::{Dispatch, Instrument as _, debug_span, error, info, info_span, instrument, trace, warn};
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::prelude::*;

use crate::program::traced;
use crate::receiver::Receiver;

#[tokio::test]
async fn a_span_with_fields_of_generative_ai_is_a_generation_and_other_spans_are_left_out() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    in_layer(layer(&langfuse), || {
        let _plain = info_span!("plain").entered();
        let agent = info_span!(
            "agent",
            gen_ai.operation.name = "invoke_agent",
            langfuse.user.id = "u-1",
            langfuse.trace.tags = "beta, eu"
        );
        let _agent = agent.entered();
        let _between = info_span!("between", order = 1).entered();
        let chat = info_span!(
            "chat",
            gen_ai.request.model = "gpt-4o",
            gen_ai.request.temperature = 0.5,
            gen_ai.request.max_tokens = 100,
            gen_ai.usage.input_tokens = Empty,
            gen_ai.usage.output_tokens = Empty,
            gen_ai.usage.cache_read.input_tokens = Empty,
            gen_ai.system = "openai",
            langfuse.observation.input = "why?",
            langfuse.observation.output = Empty,
            question.length = 4,
        );
        chat.record("langfuse.observation.output", "because");
        chat.record("gen_ai.usage.input_tokens", 12);
        chat.record("gen_ai.usage.output_tokens", 3);
        chat.record("gen_ai.usage.cache_read.input_tokens", 2);
    });

    assert!(langfuse.flush().await.ok);
    let trees = receiver.trees().await;
    assert!(trees.contains("AGENT          agent\n└─ GENERATION  chat"), "{trees}");
    let rows = rows(&receiver).await;
    let chat = find(&rows, "chat");
    assert_eq!(chat["providedModelName"], "gpt-4o");
    assert_eq!(chat["modelParameters"], json!({ "max_tokens": 100, "temperature": 0.5 }));
    assert_eq!(
        chat["usageDetails"],
        json!({ "cache_read_input_tokens": 2, "input": 12, "output": 3, "total": 17 })
    );
    assert_eq!((&chat["input"], &chat["output"]), (&json!("why?"), &json!("because")));
    assert_eq!(
        (&chat["metadata"]["gen_ai.system"], &chat["metadata"]["question.length"]),
        (&json!("openai"), &json!("4"))
    );
    assert_eq!((&chat["userId"], &chat["tags"]), (&json!("u-1"), &json!(["beta", "eu"])));
    assert_eq!(rows.len(), 2);
}

#[tokio::test]
async fn events_become_children_of_what_is_current_and_levels_are_kept() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    in_layer(layer(&langfuse).all_spans(true), || {
        info!("nothing is current");
        debug_span!("work", otel.name = "GET /users").in_scope(|| {
            trace!("too fine");
            info!(attempt = 1, "asking");
            warn!("slow\nvery slow");
        });
        info_span!("fails").in_scope(|| error!(error = "no luck", "giving up"));
    });

    assert!(langfuse.flush().await.ok);
    let rows = rows(&receiver).await;
    let (work, asking, slow) = (find(&rows, "GET /users"), find(&rows, "asking"), find(&rows, "slow"));
    assert_eq!((&work["type"], &work["level"]), (&json!("SPAN"), &json!("DEBUG")));
    for event in [asking, slow] {
        assert_eq!((&event["type"], &event["parentObservationId"]), (&json!("EVENT"), &work["id"]));
    }
    assert_eq!((&asking["level"], &asking["metadata"]["attempt"]), (&json!("DEFAULT"), &json!("1")));
    assert_eq!(asking["metadata"]["target"], "native::tracing");
    assert_eq!((&slow["level"], &slow["statusMessage"]), (&json!("WARNING"), &json!("slow\nvery slow")));
    let (fails, giving_up) = (find(&rows, "fails"), find(&rows, "giving up"));
    assert_eq!((&fails["level"], &fails["statusMessage"]), (&json!("ERROR"), &json!("no luck")));
    assert_eq!((&giving_up["level"], &giving_up["parentObservationId"]), (&json!("ERROR"), &fails["id"]));
    assert_eq!(rows.len(), 5);
}

#[tokio::test]
async fn what_is_not_wanted_can_be_left_out() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let no_events = layer(&langfuse).all_spans(true).events(LevelFilter::OFF);
    let filtered = no_events.with_filter(filter_fn(|metadata| metadata.name() != "secret"));
    in_layer(filtered, || {
        let _open = info_span!("open").entered();
        let _secret = info_span!("secret").entered();
        info_span!("inner").in_scope(|| error!("not wanted"));
    });

    assert!(langfuse.flush().await.ok);
    assert_eq!(
        receiver.trees().await.lines().skip(1).collect::<Vec<_>>(),
        ["SPAN     open", "└─ SPAN  inner"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parents_follow_instrumented_futures_and_observations_that_are_made_by_hand() {
    #[instrument(err, skip_all)]
    async fn fetch(number: u32) -> Result<u32, String> {
        tokio::task::yield_now().await;
        info_span!("parse").in_scope(|| number.checked_sub(1).ok_or_else(|| "empty".to_owned()))
    }
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(layer(&langfuse).all_spans(true)));
    let by_hand = langfuse.observe("by hand").start();
    let request = by_hand.scope(async {
        let request = info_span!("request");
        let tasks: Vec<_> = (0..2)
            .map(|number| fetch(number).instrument(request.clone()).with_current_subscriber())
            .map(tokio::spawn)
            .collect();
        for task in tasks {
            drop(task.await.expect("it does not panic"));
        }
        async { langfuse.observe("child by hand").start().end() }.instrument(request).await;
    });
    request.with_subscriber(dispatch).await;
    drop(by_hand);

    assert!(langfuse.flush().await.ok);
    let rows = rows(&receiver).await;
    let parents = |name: &str| {
        let meant = rows.iter().filter(move |row| row["name"] == name);
        let ids = meant.map(|row| row["parentObservationId"].clone());
        let name_of = |id| rows.iter().find(|row| row["id"] == id).map(|row| row["name"].clone());
        ids.filter_map(name_of).collect::<Vec<_>>()
    };
    assert_eq!(parents("request"), ["by hand"]);
    assert_eq!(parents("fetch"), ["request", "request"]);
    assert_eq!(parents("parse"), ["fetch", "fetch"]);
    assert_eq!(parents("child by hand"), ["request"]);
    let failed = rows.iter().find(|row| row["name"] == "fetch" && row["level"] == "ERROR");
    assert_eq!(failed.expect("one has failed")["statusMessage"], "empty");
    assert!(rows.iter().all(|row| row["traceId"] == rows[0]["traceId"]));
}

#[tokio::test]
async fn spans_may_be_left_in_any_order() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    in_layer(layer(&langfuse).all_spans(true), || {
        let (first, second) = (info_span!("first"), info_span!(parent: None, "second"));
        let first = first.entered();
        let second = second.entered();
        drop(first);
        langfuse.observe("in the second").start().end();
        drop(second);
        langfuse.observe("in none").start().end();
    });

    assert!(langfuse.flush().await.ok);
    let trees = receiver.trees().await;
    assert!(trees.contains("second\n└─ SPAN  in the second"), "{trees}");
    assert!(!trees.contains("  in none\n└─") && !trees.contains("└─ SPAN  in none"), "{trees}");
}

#[tokio::test]
async fn the_clients_own_requests_are_not_recorded_and_what_is_logged_is() {
    let receiver = Receiver::start();

    let status = traced("everything", &receiver.url.replace("127.0.0.1", "localhost")).status();

    assert!(status.expect("`cargo test` builds the examples, unless it is given `--test`").success());
    let trees = receiver.trees().await;
    let all: Vec<_> = trees.lines().skip(1).collect();
    assert_eq!(all, ["SPAN      work", "└─ EVENT  logged  WARNING  logged"], "{trees}");
    let rows = rows(&receiver).await;
    assert_eq!(find(&rows, "logged")["metadata"]["target"], "somewhere");
}

fn layer(langfuse: &Langfuse) -> LangfuseLayer {
    LangfuseLayer::new().client(langfuse.clone())
}

fn in_layer(
    layer: impl tracing_subscriber::Layer<tracing_subscriber::Registry> + Send + Sync,
    act: impl FnOnce(),
) {
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), act);
}

async fn rows(receiver: &Receiver) -> Vec<Value> {
    serde_json::from_str(&receiver.get("rows").await).expect("the rows are JSON")
}

fn find<'a>(rows: &'a [Value], name: &str) -> &'a Value {
    let found = rows.iter().find(|row| row["name"] == name);
    found.unwrap_or_else(|| panic!("{name} has arrived: {rows:?}"))
}
