use langfuse_edge::config::Setting;
use langfuse_edge::{Langfuse, ScoreTarget, ScoreValue};
use serde_json::{Value, json};

use crate::receiver::Receiver;

#[tokio::test]
async fn scores_of_every_kind_and_target_arrive_with_the_observations_in_one_flush() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let observation = langfuse.observe("answer").start();
    observation.end();
    observation.score("quality", 0.5).comment("half good").metadata(&json!({ "judge": "me" })).create();
    observation.score_trace("helpful", true).id("thumb").create();
    langfuse.score(ScoreTarget::Session("s-1".to_owned()), "tone", "friendly").create();
    langfuse
        .score(ScoreTarget::DatasetRun("run".to_owned()), "note", ScoreValue::Text("fine".into()))
        .create();
    observation.score_trace("output", ScoreValue::Correction("42".into())).create();

    let report = langfuse.flush().await;

    assert!(report.ok, "{report:?}");
    assert_eq!((report.delivered, report.requests), (6, 2));
    let (trace, id) = (observation.trace_id().to_hex(), observation.id().to_hex());
    let quality = find(&receiver, "quality").await;
    assert_eq!((&quality["value"], &quality["dataType"]), (&json!(0.5), &json!("NUMERIC")));
    assert_eq!((&quality["traceId"], &quality["observationId"]), (&json!(trace), &json!(id)));
    assert_eq!((&quality["comment"], &quality["metadata"]), (&json!("half good"), &json!({ "judge": "me" })));
    let helpful = find(&receiver, "helpful").await;
    assert_eq!((&helpful["value"], &helpful["dataType"]), (&json!(1), &json!("BOOLEAN")));
    assert_eq!((&helpful["id"], &helpful["observationId"]), (&json!("thumb"), &Value::Null));
    assert_eq!(find(&receiver, "tone").await["sessionId"], "s-1");
    assert_eq!(find(&receiver, "note").await["datasetRunId"], "run");
    assert_eq!(find(&receiver, "output").await["dataType"], "CORRECTION");
}

#[tokio::test]
async fn a_score_the_server_refuses_is_reported_and_one_it_puts_off_is_sent_again() {
    let receiver = Receiver::start();
    let fault = json!({
        "route": "ingestion",
        "first": 1,
        "eventErrors": [
            { "name": "refused", "status": 400, "message": "not like that" },
            { "name": "later", "status": 500, "message": "not now" },
        ],
    });
    receiver.fault(&fault.to_string()).await;
    let langfuse = receiver.client();
    let target = || ScoreTarget::Session("s-1".to_owned());
    for name in ["good", "refused", "later"] {
        langfuse.score(target(), name, 1).id(name).create();
    }

    let report = langfuse.flush().await;

    assert_eq!((report.delivered, report.requests), (2, 2));
    let [rejection] = &report.rejected[..] else { panic!("one is rejected: {report:?}") };
    assert_eq!((rejection.id.as_str(), rejection.status), ("refused", 400));
    assert_eq!(rejection.message, "not like that");
}

#[tokio::test]
async fn the_same_score_recorded_twice_is_one_score() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    for _ in 0..2 {
        langfuse.score(ScoreTarget::Session("s-1".to_owned()), "quality", 1).create();
        assert!(langfuse.flush().await.ok);
    }
    assert_eq!(receiver.scores().await.len(), 1);
}

#[tokio::test]
async fn scores_follow_the_sampling_of_their_trace_and_those_without_a_trace_are_kept() {
    let receiver = Receiver::start();
    let options = receiver.options().with(Setting::SampleRate, "0").with(Setting::Environment, "staging");
    let langfuse = Langfuse::new(&options).expect("the options are valid");
    let observation = langfuse.observe("answer").start();
    observation.score("quality", 1).create();
    observation.score_trace("quality", 1).create();
    langfuse.score(ScoreTarget::Session("s-1".to_owned()), "tone", "friendly").create();

    let report = langfuse.flush().await;

    assert_eq!(report.delivered, 1);
    assert_eq!(find(&receiver, "tone").await["environment"], "staging");
}

#[tokio::test]
async fn a_score_that_langfuse_could_not_take_is_left_out() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let session = || ScoreTarget::Session("s-1".to_owned());
    langfuse.score(session(), "", 1).create();
    langfuse.score(session(), "quality", f64::NAN).create();
    langfuse.score(session(), "quality", 1).id("").create();
    langfuse.score(session(), "quality", ScoreValue::Text(String::new())).create();
    langfuse.score(session(), "output", ScoreValue::Correction("42".into())).create();
    langfuse.score(session(), "quality", 1).create();

    assert_eq!(langfuse.flush().await.delivered, 1);
    assert_eq!(receiver.scores().await.len(), 1);
}

#[tokio::test]
async fn a_flush_of_one_trace_does_not_wait_for_the_others() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    langfuse.observe("other").start().end();
    let mine = langfuse.observe("mine").start();
    mine.end();
    mine.score("quality", 1).create();

    let report = langfuse.flush_traces(vec![mine.trace_id()], std::time::Duration::from_secs(5)).await;

    assert_eq!((report.ok, report.delivered), (true, 2));
}

async fn find(receiver: &Receiver, name: &str) -> Value {
    let scores = receiver.scores().await;
    let found = scores.iter().find(|score| score["name"] == name);
    found.unwrap_or_else(|| panic!("a score {name} has arrived: {scores:?}")).clone()
}
