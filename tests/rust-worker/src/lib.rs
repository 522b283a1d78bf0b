//! Uses the crate as a Rust Worker does; `cargo xtask test` looks at what its wasm exports, and runs it.

use langfuse_edge::observability::status;
use langfuse_edge::{
    Langfuse, Options, add_flush_handler, langfuse, run_workflow_with_flush, set_langfuse, step,
};
use wasm_bindgen::prelude::{JsError, wasm_bindgen};

/// Records one trace and answers how many observations the flush delivered.
#[wasm_bindgen(js_name = recordTrace)]
pub async fn record_trace(public_key: String, secret_key: String, base_url: String) -> Result<u32, JsError> {
    let langfuse = Langfuse::new(&Options::default().keys(public_key, secret_key).base_url(base_url))?;
    let root = langfuse.observe("request").input("a question").start();
    root.generation("answer").model("gpt-4o").start().output("an answer").end();
    root.end();
    Ok(u32::try_from(langfuse.flush().await.delivered)?)
}

/// Runs a workflow of two steps through the process-wide client, whose flush a handler adds to, and answers with its status.
#[wasm_bindgen(js_name = runWorkflow)]
pub async fn run_workflow(
    public_key: String,
    secret_key: String,
    base_url: String,
) -> Result<String, JsError> {
    set_langfuse(Langfuse::new(&Options::default().keys(public_key, secret_key).base_url(base_url))?);
    let added = add_flush_handler(|_| async {
        langfuse().observe("from a handler").start().end();
        Ok::<_, String>(())
    });
    let workflow = async |name: &str| {
        step("root", async { step("leaf", async { Ok::<_, String>(name.len()) }).await }).await
    };
    let length = run_workflow_with_flush(&workflow, "four").await;
    added.remove();
    assert_eq!(length, Ok(4));
    Ok(serde_json::to_string(&status())?)
}
