//! Uses the crate as a Rust Worker does; `cargo xtask test` looks at what its wasm exports, and runs it.

use langfuse_edge::{Langfuse, Options};
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
