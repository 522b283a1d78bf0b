//! The flush of a whole process, and what it can be asked about its tracing.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use langfuse_edge::observability::{AddedFlushHandler, client, handler, is_enabled, status, status_of};
use langfuse_edge::{
    Langfuse, LlmCallbackHandler, Options, add_flush_handler, flush_langfuse, flush_langfuse_blocking,
    flush_langfuse_within, init_with, langfuse,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::process_wide::{listen, process_wide, said_with, warnings_with};
use crate::receiver::Receiver;

#[tokio::test]
async fn without_langfuse_every_flush_is_a_no_op_that_asks_no_handler() {
    let _turn = process_wide(Langfuse::disabled()).await;
    let asked = Arc::new(AtomicU64::new(0));
    let counting = add_flush_handler(count(&asked));
    langfuse().observe("nothing").start().end();

    for report in [flush_langfuse().await, flush_langfuse_blocking()] {
        assert!(report.ok && report.attempts == 0, "{report:?}");
    }

    assert_eq!(asked.load(Ordering::Relaxed), 0);
    counting.remove();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_can_be_asked_for_again_and_again_and_from_many_places_at_once() {
    let receiver = Receiver::start();
    let _turn = process_wide(receiver.client()).await;
    let mut flushes = JoinSet::new();
    for number in 0..20 {
        flushes.spawn(async move {
            langfuse().observe(format!("task-{number}")).start().end();
            flush_langfuse().await
        });
        flushes.spawn_blocking(move || {
            langfuse().observe(format!("thread-{number}")).start().end();
            flush_langfuse_blocking()
        });
    }

    for report in flushes.join_all().await {
        assert!(report.ok, "{report:?}");
    }

    let again = flush_langfuse().await;
    assert!(again.ok && again.attempts == 0, "{again:?}");
    assert_eq!((receiver.state("observations").await, receiver.state("duplicates").await), (40, 0));
}

#[tokio::test]
async fn handlers_finish_first_and_what_they_record_is_in_the_same_flush() {
    let receiver = Receiver::start();
    let _turn = process_wide(receiver.client()).await;
    let root = langfuse().observe("root").start();
    root.in_scope(|| handler().on_llm_start("call", "forgotten", &json!({ "prompt": "Hi" })));
    root.end();
    let added = add_flush_handler(|budget: Duration| async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let delivered = langfuse().stats().delivered;
        langfuse().observe("late").metadata("budget", &budget.as_secs()).output(&delivered).start().end();
        Ok::<_, String>(())
    });

    let report = flush_langfuse().await;
    added.remove();

    assert_eq!((report.ok, report.delivered, handler().calls_under_way()), (true, 3, 0));
    let late = receiver.row("late").await;
    assert_eq!((&late["output"], &late["metadata"]["budget"]), (&json!("0"), &json!("15")));
    let call = receiver.row("forgotten").await;
    assert_eq!((&call["level"], &call["statusMessage"]), (&json!("WARNING"), &json!("never ended")));
    assert_eq!(call["parentObservationId"], root.id().to_hex());
}

#[tokio::test]
async fn every_flush_of_a_client_ends_the_calls_that_nobody_else_will_end() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let own = LlmCallbackHandler::new(&langfuse);
    for (round, blocking) in [(1, false), (2, true)] {
        let root = langfuse.observe("root").start();
        root.in_scope(|| own.on_llm_start("orphan", "orphan", &json!({ "prompt": "Hi" })));
        root.end();
        own.on_llm_start("under way", "under way", &json!({ "prompt": "Hi" }));

        let report =
            if blocking { langfuse.flush_blocking(Duration::from_secs(10)) } else { langfuse.flush().await };

        assert_eq!((report.ok, own.calls_under_way()), (true, 1));
        assert_eq!(receiver.rows("orphan").await.len(), round);
        own.finish();
    }
}

#[tokio::test]
async fn a_handler_that_fails_panics_or_takes_too_long_is_said_and_stops_nobody() {
    listen();
    let receiver = Receiver::start();
    let _turn = process_wide(receiver.client()).await;
    let handlers = [
        add_flush_handler(|_| async { Err("the buffer is broken") }),
        add_flush_handler(|_| async {
            assert!(is_enabled() && langfuse().stats().queued == 0, "a panic in the handler");
            Ok::<_, String>(())
        }),
        add_flush_handler(|_| -> std::future::Ready<Result<(), String>> {
            panic!("a panic before the first await")
        }),
        add_flush_handler(|_| pending::<Result<(), String>>()),
        add_flush_handler(|_| async {
            langfuse().observe("good").start().end();
            Ok::<_, String>(())
        }),
    ];
    langfuse().observe("one").start().end();
    let start = Instant::now();

    let report = flush_langfuse_within(Duration::from_secs(1)).await;

    handlers.into_iter().for_each(AddedFlushHandler::remove);
    assert_eq!((report.ok, report.delivered), (true, 2));
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(500) && took < Duration::from_secs(5), "{took:?}");
    for problem in [
        "the buffer is broken",
        "a panic in the handler",
        "a panic before the first await",
        "it took too long",
    ] {
        let said = warnings_with(&["langfuse-edge: flush: a handler was passed over: ", problem]);
        assert!(!said.is_empty(), "{problem}");
    }
}

#[tokio::test]
async fn a_handler_that_was_removed_is_not_asked() {
    let receiver = Receiver::start();
    let _turn = process_wide(receiver.client()).await;
    let asked = Arc::new(AtomicU64::new(0));
    let removed = add_flush_handler(count(&asked));
    let kept = add_flush_handler(count(&asked));
    let _forgotten = add_flush_handler(count(&asked));
    removed.remove();

    flush_langfuse().await;

    kept.remove();
    assert_eq!(asked.load(Ordering::Relaxed), 2, "dropping what tells one apart changes nothing");
}

/// The last one stays, and is asked by other tests' flushes, too.
fn count(asked: &Arc<AtomicU64>) -> impl Fn(Duration) -> std::future::Ready<Result<(), String>> + use<> {
    let asked = Arc::clone(asked);
    move |_| {
        asked.fetch_add(1, Ordering::Relaxed);
        std::future::ready(Ok(()))
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_blocking_flush_lets_handlers_finish_inside_a_runtime_of_one_thread_as_well() {
    let receiver = Receiver::start();
    let _turn = process_wide(receiver.client()).await;
    let added = add_flush_handler(|_| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        langfuse().observe("late").start().end();
        Ok::<_, String>(())
    });

    let inside = flush_langfuse_blocking();
    let outside = thread::spawn(flush_langfuse_blocking).join().expect("it does not panic");

    added.remove();
    assert_eq!((inside.delivered, outside.delivered), (1, 1));
}

#[tokio::test]
async fn the_guard_lets_handlers_finish_and_gives_up_one_that_blocks_its_thread() {
    listen();
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let _turn = process_wide(langfuse.clone()).await;
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let added = add_flush_handler(move |_| {
        langfuse_edge::langfuse().observe("late").start().end();
        let _ = released.lock().expect("nobody panics").recv();
        async { Ok::<_, String>(()) }
    });
    let start = Instant::now();

    drop(init_with(langfuse).timeout(Duration::from_millis(400)));

    added.remove();
    drop(release);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert!(!warnings_with(&["a handler was passed over: it blocks its thread"]).is_empty());
    assert_eq!(receiver.state("observations").await, 1);
}

#[tokio::test]
async fn what_could_not_be_delivered_is_said_in_one_warning_and_is_in_the_report() {
    listen();
    let receiver = Receiver::start();
    receiver.fault(r#"{"status": 503}"#).await;
    let _turn = process_wide(receiver.client()).await;
    for number in 0..37 {
        langfuse().observe(format!("work-{number}")).start().end();
    }

    let report = flush_langfuse_within(Duration::from_millis(300)).await;

    assert_eq!((report.ok, report.delivered, report.retained), (false, 0, 37));
    let said =
        "langfuse-edge: flush: 0 delivered, 0 rejected, 37 retained, 0 dropped: the server answers 503";
    assert_eq!(warnings_with(&[", 37 retained"]), [said]);
    receiver.fault("{}").await;
    assert!(flush_langfuse().await.ok);
    assert_eq!(warnings_with(&[", 37 retained"]).len(), 1);
}

#[tokio::test]
async fn at_level_debug_each_flush_says_a_line() {
    listen();
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    for number in 0..43 {
        langfuse.observe(format!("work-{number}")).start().end();
    }

    assert!(langfuse.flush().await.ok);

    let line = "langfuse-edge: flush: 43 delivered, 0 rejected, 0 retained, 0 dropped";
    assert_eq!(said_with(log::Level::Debug, &["flush: 43 delivered"]), [line]);
    assert!(warnings_with(&["flush: 43 delivered"]).is_empty());
}

#[tokio::test]
async fn the_status_names_host_beginning_of_the_key_open_observations_queue_and_last_delivery() {
    let receiver = Receiver::start();
    let _turn = process_wide(receiver.client()).await;
    let open = client().observe("open").start();
    client().observe("done").start().end();

    let before = status();
    assert!(is_enabled() && before.enabled && before.why_disabled.is_none());
    assert_eq!(before.host.as_deref(), Some(receiver.url.as_str()));
    assert_eq!(before.public_key.as_deref(), Some("pk-lf-dev"));
    assert_eq!((before.open, before.queued, before.delivered), (1, 1, 0));
    assert!(before.bytes > 0 && before.last_delivery.is_none() && before.last_error.is_none());
    open.end();
    flush_langfuse().await;

    let after = status();
    assert_eq!((after.open, after.queued, after.in_flight, after.bytes), (0, 0, 0, 0));
    assert_eq!((after.delivered, after.lost), (2, 0));
    let shown = after.to_string();
    let delivery = after.last_delivery.expect("it was delivered").to_iso8601();
    for words in [&receiver.url, "as pk-lf-dev\n", "2 delivered, 0 lost", &delivery] {
        assert!(shown.contains(words), "{words} is missing in {shown}");
    }
    assert!(!format!("{shown}{after:?}").contains("sk-lf"), "{after:?}");
    let long = Options::default().keys("pk-lf-0123456789", "sk-lf-dev").base_url(&receiver.url);
    let long = Langfuse::new(&long).expect("valid options");
    assert_eq!(status_of(&long).public_key.as_deref(), Some("pk-lf-0123…"));
}

#[tokio::test]
async fn the_status_keeps_what_a_delivery_failed_of_but_nothing_that_was_recorded() {
    let receiver = Receiver::start();
    let gone = Receiver::start().url.clone();
    for (fault, url, said) in [
        (r#"{"status": 503}"#, &receiver.url, "1 retained, 0 dropped: the server answers 503"),
        (r#"{"hang": true}"#, &receiver.url, "1 retained, 0 dropped: the server gives no answer"),
        ("{}", &gone, "1 retained, 0 dropped: the server gives no answer"),
        (r#"{"status": 422}"#, &receiver.url, "1 rejected, 0 retained, 0 dropped"),
    ] {
        receiver.fault(fault).await;
        let options = Options::default().keys("pk-lf-dev", "sk-lf-dev").base_url(url);
        let langfuse = Langfuse::new(&options.timeout(Duration::from_millis(200))).expect("valid options");
        langfuse.observe("work").input("what nobody else may see").start().end();

        langfuse.flush_within(Duration::from_millis(500)).await;

        let error = status_of(&langfuse).last_error.expect("it failed");
        assert!(error.message.contains(said), "{fault}: {}", error.message);
        assert!(!error.message.contains("nobody else"), "{}", error.message);
        receiver.fault("{}").await;
        langfuse.observe("good").start().end();
        langfuse.flush_within(Duration::from_millis(500)).await;
        assert!(status_of(&langfuse).last_error.is_some(), "it stays, with its time");
    }
}

#[tokio::test]
async fn the_status_of_a_disabled_client_says_why() {
    let keys = || Options::default().keys("pk-lf-dev", "sk-lf-dev");
    for (options, why) in [
        (keys().enabled(false), "enabled (LANGFUSE_TRACING_ENABLED) is false"),
        (keys().keys("", "sk-lf-dev"), "publicKey (LANGFUSE_PUBLIC_KEY) is not set"),
        (keys().keys("pk-lf-dev", ""), "secretKey (LANGFUSE_SECRET_KEY) is not set"),
    ] {
        let _turn = process_wide(Langfuse::new(&options).expect("valid options")).await;

        let status = status();

        assert!(!status.enabled && !is_enabled());
        assert_eq!((status.host, status.public_key, status.why_disabled.as_deref()), (None, None, Some(why)));
        assert_eq!(langfuse_edge::observability::status().to_string(), format!("Langfuse: disabled: {why}"));
    }
}

#[tokio::test]
async fn the_status_has_the_fields_that_it_has_in_javascript() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let javascript = include_str!("../../pkg-templates/src/status.ts");
    let interface = javascript.split_once("interface Status {").and_then(|(_, rest)| rest.split_once("\n}"));
    let (interface, _) = interface.expect("the interface is there");
    let fields = interface.lines().filter(|line| !line.trim_start().starts_with("/**"));
    let there: BTreeSet<_> =
        fields.filter_map(|line| line.trim().split_once(": ")).map(|(name, _)| name).collect();

    let here = serde_json::to_value(status_of(&langfuse)).expect("it can be serialized");

    let Value::Object(here) = here else { panic!("an object: {here}") };
    assert_eq!(here.keys().map(String::as_str).collect::<BTreeSet<_>>(), there);
}
