use std::{task, thread};

use langfuse_edge::{
    Context, Langfuse, Level, PropagatedAttributes, ScoreTarget, current_observation, observe,
    propagate_attributes,
};
use serde_json::json;
use tokio::task::yield_now;

use crate::receiver::Receiver;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_current_observation_follows_async_code_from_thread_to_thread() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let requests = (0..20).map(|number| {
        let langfuse = langfuse.clone();
        tokio::spawn(async move {
            let request = langfuse.observe(format!("request {number}")).start();
            let work = async {
                for _ in 0..5 {
                    yield_now().await;
                    assert_eq!(current_observation().map(|current| current.id()), Some(request.id()));
                }
                langfuse.observe(format!("work {number}")).start().scope(yield_now()).await;
            };
            request.scope(work).await;
            assert!(current_observation().is_none());
            request.end();
        })
    });
    for request in requests.collect::<Vec<_>>() {
        request.await.expect("it does not panic");
    }

    assert_eq!(langfuse.flush().await.delivered, 40);

    for number in 0..20 {
        let request = receiver.row(&format!("request {number}")).await;
        assert_eq!(receiver.row(&format!("work {number}")).await["parentObservationId"], request["id"]);
    }
}

#[tokio::test]
async fn scopes_of_code_that_is_not_async_nest_and_end_with_a_panic_too() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let outer = langfuse.observe("outer").start();
    outer.in_scope(|| {
        let inner = langfuse.observe("inner").start();
        inner.in_scope(|| observe("innermost").start().end());
        let panicked = std::panic::catch_unwind(|| inner.in_scope(|| panic!("on purpose")));
        assert!(panicked.is_err());
        assert_eq!(current_observation().map(|current| current.id()), Some(outer.id()));
    });
    assert!(current_observation().is_none());
    outer.end();

    assert!(langfuse.flush().await.ok);

    let inner = receiver.row("inner").await;
    assert_eq!(receiver.row("innermost").await["parentObservationId"], inner["id"]);
    assert_eq!(inner["parentObservationId"], json!(outer.id().to_hex()));
}

#[tokio::test]
async fn a_context_can_be_taken_into_a_task_and_into_a_thread() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let request = langfuse.observe("request").start();
    let (in_task, in_thread) = request.in_scope(|| {
        let (for_task, for_thread) = (langfuse.clone(), langfuse.clone());
        let task = async move { for_task.observe("in task").start().end() };
        let context = Context::current();
        let thread =
            thread::spawn(move || context.in_scope(|| for_thread.observe("in thread").start().end()));
        (tokio::spawn(Context::current().scope(task)), thread)
    });
    in_task.await.expect("it does not panic");
    in_thread.join().expect("it does not panic");
    request.end();

    assert!(langfuse.flush().await.ok);

    for name in ["in task", "in thread"] {
        assert_eq!(receiver.row(name).await["parentObservationId"], json!(request.id().to_hex()), "{name}");
    }
}

#[tokio::test]
async fn each_client_has_a_current_observation_of_its_own() {
    let receiver = Receiver::start();
    let (one, other) = (receiver.client(), receiver.client());
    let outer = one.observe("outer").start();
    let task = async {
        let foreign = other.observe("foreign").start();
        let inner = async {
            assert_eq!(one.current_observation().map(|current| current.id()), Some(outer.id()));
            one.observe("inner").start().end();
            observe("foreign child").start().end();
        };
        foreign.scope(inner).await;
    };
    outer.scope(task).await;
    outer.end();

    assert!(one.flush().await.ok && other.flush().await.ok);

    assert_eq!(receiver.row("foreign").await["parentObservationId"], json!(null));
    assert_eq!(receiver.row("inner").await["parentObservationId"], json!(outer.id().to_hex()));
    assert_eq!(
        receiver.row("foreign child").await["parentObservationId"],
        receiver.row("foreign").await["id"]
    );
}

#[tokio::test]
async fn the_current_observation_can_be_changed_and_scored_where_nobody_handed_it_over() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let answer = langfuse.generation("answer").start();
    answer.in_scope(|| {
        let current = current_observation().expect("it is current");
        current.output("42").level(Level::Warning);
        langfuse.score_active_observation("helpful", true).create();
        langfuse.score_active_trace("quality", 0.5).create();
    });
    assert!(answer.is_open(), "a handle that is dropped ends nothing");
    answer.end();
    langfuse.score_active_trace("of nothing", 1).create();
    langfuse.score(ScoreTarget::Trace(answer.trace_id()), "direct", 1).create();

    let report = langfuse.flush().await;

    assert_eq!((report.ok, report.delivered), (true, 4));
    let row = receiver.row("answer").await;
    assert_eq!((&row["output"], &row["level"]), (&json!("42"), &json!("WARNING")));
    let scores = receiver.scores().await;
    let find = |name| scores.iter().find(|score| score["name"] == name).expect("it has arrived");
    assert_eq!(find("helpful")["observationId"], json!(answer.id().to_hex()));
    assert_eq!(find("quality")["observationId"], json!(null));
    assert_eq!(find("quality")["traceId"], json!(answer.trace_id().to_hex()));
}

#[tokio::test]
async fn what_is_propagated_is_said_within_the_scope_and_ends_with_it() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let root = langfuse.observe("root").start();
    let attributes = PropagatedAttributes::new()
        .client(&langfuse)
        .user_id("u-1")
        .session_id("s-1")
        .trace_name("chat")
        .version("2")
        .environment("staging")
        .tag("beta")
        .metadata("plan", "pro")
        .prompt("answer", 3);
    let within = async {
        propagate_attributes(attributes, async {
            yield_now().await;
            langfuse.generation("within").start().end();
            root.observe("child of the root").start().end();
            langfuse.observe("nested").start().in_scope(|| observe("below").start().end());
            let inner = PropagatedAttributes::new().user_id("u-2").tag("mail").metadata("tier", "gold");
            inner.scope(async { langfuse.observe("inner").start().end() }).await;
        })
        .await;
        root.observe("afterwards").start().end();
    };
    root.scope(within).await;
    root.end();
    langfuse.observe("elsewhere").start().end();

    assert!(langfuse.flush().await.ok);

    for name in ["root", "within", "child of the root", "nested", "below", "inner"] {
        let row = receiver.row(name).await;
        // No other observation was current where the user changed.
        let user = if ["root", "inner"].contains(&name) { "u-2" } else { "u-1" };
        assert_eq!((&row["userId"], &row["sessionId"]), (&json!(user), &json!("s-1")), "{row}");
        assert_eq!((&row["traceName"], &row["version"]), (&json!("chat"), &json!("2")));
        assert_eq!(row["environment"], "staging");
    }
    assert_eq!(receiver.row("inner").await["tags"], json!(["beta", "mail"]));
    let within = receiver.row("within").await;
    assert_eq!((&within["tags"], &within["metadata"]["plan"]), (&json!(["beta"]), &json!("pro")));
    assert_eq!((&within["promptName"], &within["promptVersion"]), (&json!("answer"), &json!(3)));
    for name in ["afterwards", "elsewhere"] {
        let row = receiver.row(name).await;
        assert_eq!((&row["userId"], &row["tags"]), (&json!(null), &json!([])), "{row}");
    }
}

#[tokio::test]
async fn what_cannot_be_propagated_is_left_out() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let attributes = PropagatedAttributes::new()
        .client(&langfuse)
        .user_id("ä".repeat(200))
        .session_id("x".repeat(201))
        .tag("x".repeat(201))
        .metadata("long", "x".repeat(201))
        .environment("Staging")
        .environment("langfuse-x")
        .version("");
    attributes.in_scope(|| langfuse.observe("root").version("1").start().end());

    assert!(langfuse.flush().await.ok);

    let row = receiver.row("root").await;
    assert_eq!((&row["userId"], &row["sessionId"]), (&json!("ä".repeat(200)), &json!(null)));
    assert_eq!((&row["tags"], &row["environment"]), (&json!([]), &json!("default")));
    assert_eq!((&row["version"], row["metadata"].get("long")), (&json!("1"), None));
}

#[tokio::test]
async fn what_is_propagated_reaches_a_root_and_goes_along_into_a_task() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let attributes = PropagatedAttributes::new().client(&langfuse).user_id("u-1");
    let task = attributes.in_scope(|| {
        let langfuse = langfuse.clone();
        langfuse.observe("with more").tag("own").start().end();
        let root = langfuse.observe("root").start();
        tokio::spawn(root.scope(async move { langfuse.observe("in task").start().end() }))
    });
    task.await.expect("it does not panic");

    assert!(langfuse.flush().await.ok);

    for name in ["root", "in task", "with more"] {
        assert_eq!(receiver.row(name).await["userId"], "u-1", "{name}");
    }
}

#[tokio::test]
async fn without_a_client_that_records_scopes_do_no_harm() {
    let langfuse = Langfuse::disabled();
    let root = langfuse.observe("root").start();
    let attributes = PropagatedAttributes::new().client(&langfuse).user_id("u-1");
    let child = attributes.scope(root.scope(async { observe("child").start().trace_id() })).await;

    assert_eq!(child, root.trace_id());
    assert!(langfuse.flush().await.ok);
}

#[tokio::test]
async fn a_future_or_a_call_can_be_an_observation_that_ends_as_it_does() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let answer = langfuse.observe("run").run(async { observe("below").start().trace_id() }).await;
    let failed: Result<(), _> = langfuse.observe("try_run").try_run(async { Err("no luck") }).await;
    let number = langfuse.observe("call").call(|| 7);
    let refused: Result<(), _> = langfuse.observe("try_call").try_call(|| Err("not that"));
    {
        let mut given_up = Box::pin(langfuse.observe("given up").run(std::future::pending::<()>()));
        let poll = given_up.as_mut().poll(&mut task::Context::from_waker(task::Waker::noop()));
        assert!(poll.is_pending());
        drop(langfuse.observe("never begun").run(async {}));
    }

    assert_eq!(langfuse.flush().await.delivered, 6);

    assert_eq!((failed, number, refused), (Err("no luck"), 7, Err("not that")));
    assert_eq!(receiver.row("below").await["traceId"], json!(answer.to_hex()));
    for (name, level, message) in [
        ("run", "DEFAULT", json!(null)),
        ("try_run", "ERROR", json!("no luck")),
        ("call", "DEFAULT", json!(null)),
        ("try_call", "ERROR", json!("not that")),
        ("given up", "WARNING", json!("dropped before it was complete")),
    ] {
        let row = receiver.row(name).await;
        assert_eq!((&row["level"], &row["statusMessage"]), (&json!(level), &message), "{name}");
    }
}
