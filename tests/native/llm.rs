use std::future::pending;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

#[cfg(feature = "stream")]
use futures_util::{StreamExt, stream};
use langfuse_edge::{Langfuse, LlmCall, LlmCallbackHandler, observe};
use serde_json::{Value, json};

use crate::receiver::Receiver;

#[tokio::test]
async fn a_call_told_of_by_callbacks_arrives_with_model_parameters_messages_usage_and_first_token() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let handler = LlmCallbackHandler::new(&langfuse);
    let root = langfuse.observe("root").start();
    root.in_scope(|| {
        handler.on_llm_start(
            "call-1",
            "answer",
            &json!({
                "model": "gpt-4o",
                "messages": [{ "role": "user", "content": "Why?" }],
                "temperature": 0.5,
                "stop": ["."],
                "stream": true,
                "seed": null,
            }),
        );
    });
    handler.on_llm_first_token("call-1");
    let first_token = handler.clone();
    first_token.on_llm_first_token("call-1");
    handler.on_llm_end(
        "call-1",
        &json!({
            "model": "gpt-4o-2024-11-20",
            "choices": [{ "index": 0, "message": { "role": "assistant", "content": "Because." } }],
            "usage": {
                "prompt_tokens": 10,
                "completion_tokens": 7,
                "total_tokens": 17,
                "prompt_tokens_details": { "cached_tokens": 4, "audio_tokens": 0 },
                "completion_tokens_details": { "reasoning_tokens": 5 },
            },
        }),
    );
    root.end();

    let report = langfuse.flush().await;

    assert_eq!((report.delivered, handler.calls_under_way()), (2, 0));
    let row = receiver.row("answer").await;
    assert_eq!((&row["type"], &row["level"]), (&json!("GENERATION"), &json!("DEFAULT")));
    assert_eq!(row["parentObservationId"], json!(root.id().to_hex()));
    assert_eq!(row["providedModelName"], "gpt-4o-2024-11-20");
    assert_eq!(row["modelParameters"], json!({ "temperature": 0.5, "stop": "[\".\"]", "stream": "true" }));
    assert_eq!(row["input"], r#"[{"content":"Why?","role":"user"}]"#);
    assert_eq!(row["output"], r#"{"content":"Because.","role":"assistant"}"#);
    assert_eq!(
        row["usageDetails"],
        json!({
            "input": 6, "input_cached_tokens": 4, "output": 2, "output_reasoning_tokens": 5, "total": 17,
        })
    );
    assert!(row["completionStartTime"].is_string(), "{row}");
}

#[tokio::test]
async fn responses_of_other_apis_are_understood_and_of_any_other_form_all_is_the_output() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let cases = [
        (
            "anthropic",
            json!({
                "role": "assistant", "content": [{ "type": "text", "text": "Hi" }], "model": "claude",
                "usage": { "input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": 3 },
            }),
            r#"{"content":[{"text":"Hi","type":"text"}],"role":"assistant"}"#,
            json!({ "input": 5, "output": 2, "cache_read_input_tokens": 3, "total": 10 }),
        ),
        (
            "responses",
            json!({
                "output": [{ "type": "message" }],
                "usage": {
                    "input_tokens": 5, "output_tokens": 2, "total_tokens": 7,
                    "output_tokens_details": { "reasoning_tokens": 9 },
                },
            }),
            r#"[{"type":"message"}]"#,
            json!({ "input": 5, "output": 0, "output_reasoning_tokens": 9, "total": 14 }),
        ),
        (
            "gemini",
            json!({
                "candidates": ["Hi"],
                "usageMetadata": { "promptTokenCount": 5, "candidatesTokenCount": 2, "totalTokenCount": 7 },
            }),
            r#"["Hi"]"#,
            json!({ "input": 5, "output": 2, "total": 7 }),
        ),
        (
            "several",
            json!({ "choices": [{ "text": "a" }, { "text": "b" }, { "strange": 1 }] }),
            r#"["a","b",{"strange":1}]"#,
            json!({}),
        ),
        ("own", json!({ "answer": 42 }), r#"{"answer":42}"#, json!({})),
        ("text", json!("Hi"), "Hi", json!({})),
        ("nothing", Value::Null, "null", json!({})),
    ];
    for (name, response, ..) in &cases {
        LlmCall::start(langfuse.generation(*name), &json!({ "question": "?" })).end(response);
    }

    assert!(langfuse.flush().await.ok);

    for (name, _, output, usage) in cases {
        let row = receiver.row(name).await;
        assert_eq!((&row["output"], &row["usageDetails"]), (&json!(output), &usage), "{name}: {row}");
        assert_eq!(row["input"], r#"{"question":"?"}"#);
    }
}

#[tokio::test]
async fn a_wrapped_function_is_a_generation_with_what_it_does_below() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let llm = LlmCallbackHandler::new(&langfuse).trace_llm("answer", async |request: Value| {
        observe("look up").start().end();
        match request["prompt"].as_str() {
            Some("fail") => Err("no luck".to_owned()),
            _ => Ok(json!({ "text": "Because.", "usage": { "input": 1, "output": 2 } })),
        }
    });

    let answer = llm.call(json!({ "model": "gpt-4o", "prompt": "Why?" })).await;
    assert!(langfuse.flush().await.ok);
    let row = receiver.row("answer").await;
    let error = llm.call(json!({ "model": "gpt-4o", "prompt": "fail" })).await;
    assert!(langfuse.flush().await.ok);

    assert!(answer.is_ok_and(|answer| answer["text"] == "Because."));
    assert_eq!((&row["input"], &row["output"]), (&json!("Why?"), &json!("Because.")));
    assert_eq!((&row["usageDetails"]["total"], &row["providedModelName"]), (&json!(3), &json!("gpt-4o")));
    assert_eq!(receiver.row("look up").await["parentObservationId"], row["id"]);
    assert_eq!(error, Err("no luck".to_owned()));
    let trees = receiver.trees().await;
    assert!(trees.contains("ERROR") && trees.contains("no luck"), "{trees}");
}

#[tokio::test]
async fn a_call_ends_once_whatever_happens_to_it() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let handler = LlmCallbackHandler::new(&langfuse);
    let request = json!({ "prompt": "Why?" });
    {
        let llm = handler.trace_llm("given up", async |_: Value| pending::<Result<Value, String>>().await);
        let mut call = Box::pin(llm.call(request.clone()));
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    drop(LlmCall::start(langfuse.generation("dropped"), &request));
    handler.on_llm_start("twice", "begun again", &request);
    handler.on_llm_start("twice", "second", &request);
    handler.on_llm_error("twice", "no luck");
    handler.on_llm_error("twice", "too late");
    handler.on_llm_end("twice", "too late");
    handler.on_llm_end("unknown", "never begun");

    let report = langfuse.flush().await;

    assert_eq!(report.delivered, 4);
    for (name, level, message) in [
        ("given up", "WARNING", "dropped before it was complete"),
        ("dropped", "WARNING", "dropped before it was complete"),
        ("begun again", "WARNING", "never ended"),
        ("second", "ERROR", "no luck"),
    ] {
        let row = receiver.row(name).await;
        assert_eq!((&row["level"], &row["statusMessage"]), (&json!(level), &json!(message)), "{name}");
    }
}

#[tokio::test]
async fn a_flush_of_the_handler_ends_calls_whose_step_is_over_and_leaves_the_others_alone() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let handler = LlmCallbackHandler::new(&langfuse);
    let request = json!({ "prompt": "Why?" });
    let (over, lasting) = (langfuse.observe("over").start(), langfuse.observe("lasting").start());
    over.in_scope(|| handler.on_llm_start("1", "orphan", &request));
    lasting.in_scope(|| handler.on_llm_start("2", "under way", &request));
    handler.on_llm_start("3", "of no step", &request);
    over.end();

    handler.flush();
    let report = langfuse.flush().await;

    assert_eq!((report.delivered, handler.calls_under_way()), (2, 2));
    assert_eq!(receiver.row("orphan").await["statusMessage"], "never ended");

    handler.finish();
    assert_eq!((langfuse.flush().await.delivered, handler.calls_under_way()), (2, 0));
    assert_eq!(receiver.row("under way").await["level"], "WARNING");
}

#[tokio::test]
async fn calls_from_many_threads_keep_apart() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let handler = LlmCallbackHandler::new(&langfuse);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let handler = &handler;
            scope.spawn(move || {
                for number in 0..100 {
                    let id = format!("{thread}-{number}");
                    handler.on_llm_start(id.clone(), id.clone(), &json!({ "prompt": id }));
                    handler.on_llm_end(&id, &id);
                }
            });
        }
    });

    assert_eq!(langfuse.flush().await.delivered, 400);

    let row = receiver.row("3-99").await;
    assert_eq!((&row["input"], &row["output"]), (&json!("3-99"), &json!("3-99")));
}

#[tokio::test]
async fn without_langfuse_a_wrapped_function_does_what_it_does() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let handler = LlmCallbackHandler::new(&Langfuse::disabled());
    let llm = handler.trace_llm("answer", |request: u32| {
        calls.lock().expect("not poisoned").push(request);
        async move { Ok::<_, String>(request + 1) }
    });

    assert_eq!(llm.call(1).await, Ok(2));
    handler.on_llm_start("1", "nothing", "x");
    handler.finish();
    handler.flush();

    assert_eq!((calls.lock().expect("not poisoned").as_slice(), handler.calls_under_way()), (&[1][..], 0));
}

#[cfg(feature = "stream")]
#[tokio::test]
async fn a_response_that_comes_in_chunks_is_put_together_and_its_first_chunk_is_the_first_token() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let delta =
        |index: u64, delta: Value| json!({ "model": "m", "choices": [{ "index": index, "delta": delta }] });
    let tool =
        |index: u64, function: Value| json!({ "tool_calls": [{ "index": index, "function": function }] });
    let cases = [
        (
            "openai",
            vec![
                delta(0, json!({ "role": "assistant", "content": "" })),
                delta(0, json!({ "content": "Be", "refusal": null })),
                delta(1, json!({ "role": "assistant", "content": "Or" })),
                delta(0, json!({ "content": "cause" })),
                delta(0, tool(0, json!({ "name": "look_up", "arguments": "{\"a" }))),
                delta(0, tool(1, json!({ "name": "save", "arguments": "" }))),
                delta(0, tool(0, json!({ "arguments": "\":1}" }))),
                json!({ "choices": [], "usage": { "prompt_tokens": 3, "completion_tokens": 4 } }),
            ],
            json!([
                {
                    "role": "assistant", "content": "Because",
                    "tool_calls": [
                        { "index": 0, "function": { "name": "look_up", "arguments": "{\"a\":1}" } },
                        { "index": 1, "function": { "name": "save", "arguments": "" } },
                    ],
                },
                { "role": "assistant", "content": "Or" },
            ]),
            json!({ "input": 3, "output": 4, "total": 7 }),
        ),
        (
            "anthropic",
            vec![
                json!({
                    "type": "message_start",
                    "message": { "role": "assistant", "model": "m", "usage": { "input_tokens": 3, "output_tokens": 1 } },
                }),
                json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
                json!({ "type": "ping" }),
                json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "Hi" } }),
                json!({ "type": "content_block_stop", "index": 0 }),
                json!({
                    "type": "content_block_start", "index": 1,
                    "content_block": { "type": "tool_use", "name": "look_up", "input": {} },
                }),
                json!({
                    "type": "content_block_delta", "index": 1,
                    "delta": { "type": "input_json_delta", "partial_json": "{\"a\":" },
                }),
                json!({
                    "type": "content_block_delta", "index": 1,
                    "delta": { "type": "input_json_delta", "partial_json": "1}" },
                }),
                json!({ "type": "message_delta", "delta": {}, "usage": { "output_tokens": 5 } }),
                json!({ "type": "message_stop" }),
            ],
            json!({
                "role": "assistant",
                "content": [
                    { "type": "text", "text": "Hi" },
                    { "type": "tool_use", "name": "look_up", "input": "{\"a\":1}" },
                ],
            }),
            json!({ "input": 3, "output": 5, "total": 8 }),
        ),
        (
            "responses",
            vec![
                json!({ "type": "response.created", "response": { "model": "m" } }),
                json!({ "type": "response.output_text.delta", "delta": "H" }),
                json!({
                    "type": "response.completed",
                    "response": { "model": "m", "output": ["Hi"], "usage": { "input_tokens": 1, "output_tokens": 2 } },
                }),
            ],
            json!(["Hi"]),
            json!({ "input": 1, "output": 2, "total": 3 }),
        ),
        ("texts", vec![json!("H"), json!("i")], json!("Hi"), json!({})),
        ("own", vec![json!({ "a": 1 }), json!([2])], json!([{ "a": 1 }, [2]]), json!({})),
    ];
    let handler = LlmCallbackHandler::new(&langfuse);
    for (name, chunks, ..) in &cases {
        let llm = handler.trace_llm(*name, async |_: Value| {
            Ok::<_, String>(stream::iter(chunks.clone().into_iter().map(Ok::<_, String>)))
        });
        let answer = llm.stream(json!({ "prompt": "Why?" })).await.expect("it answers");
        assert_eq!(answer.count().await, chunks.len());
    }

    assert!(langfuse.flush().await.ok);

    for (name, _, output, usage) in cases {
        let row = receiver.row(name).await;
        let said = row["output"].as_str().expect("there is an output");
        let said = serde_json::from_str(said).unwrap_or_else(|_| json!(said));
        assert_eq!((&said, &row["usageDetails"]), (&output, &usage), "{name}: {row}");
        assert!(row["completionStartTime"].is_string() && row["level"] == "DEFAULT", "{name}: {row}");
    }
    assert_eq!(receiver.row("anthropic").await["providedModelName"], "m");
}

#[cfg(feature = "stream")]
#[tokio::test]
async fn a_response_that_breaks_off_has_what_came_until_then() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let handler = LlmCallbackHandler::new(&langfuse);
    let chunks = || stream::iter([Ok(json!("H")), Ok(json!("i")), Err("no more")]);
    let request = json!({ "prompt": "Why?" });

    let broken = handler.trace_llm("broken", async |_: Value| Ok::<_, String>(chunks()));
    assert_eq!(broken.stream(request.clone()).await.expect("it begins").count().await, 3);
    let left = handler.trace_llm("left", async |_: Value| Ok::<_, String>(chunks()));
    let mut answer = Box::pin(left.stream(request.clone()).await.expect("it begins"));
    assert_eq!(answer.next().await, Some(Ok(json!("H"))));
    drop(answer);
    let refused = handler.trace_llm(
        "refused",
        async |_: Value| {
            if true { Err("no luck".to_owned()) } else { Ok(chunks()) }
        },
    );
    assert!(refused.stream(request).await.is_err());

    assert_eq!(langfuse.flush().await.delivered, 3);

    for (name, output, level, message) in [
        ("broken", json!("Hi"), "ERROR", "no more"),
        ("left", json!("H"), "WARNING", "the consumer stopped early"),
        ("refused", json!(null), "ERROR", "no luck"),
    ] {
        let row = receiver.row(name).await;
        assert_eq!((&row["output"], &row["level"]), (&output, &json!(level)), "{name}");
        assert_eq!(row["statusMessage"], message);
    }
}
