// A Rust program that is itself compiled to wasm and uses the crate: tests/rust-worker, built by `cargo xtask test`.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";
import { test } from "node:test";

import { ROOT } from "./support/program.mjs";
import { receiverFor } from "./support/receiver.mjs";

const RUST_WORKER = process.env.LANGFUSE_EDGE_RUST_WORKER ?? join(ROOT, "target/rust-worker");

test("awaiting a flush in Rust compiled to wasm delivers", async (t) => {
  const receiver = await receiverFor(t);
  const { recordTrace } = createRequire(import.meta.url)(join(RUST_WORKER, "rust_worker.js"));

  assert.equal(await recordTrace("pk-lf-dev", "sk-lf-dev", receiver.url), 2);

  assert.match(await receiver.trees(), /SPAN +request\n└─ GENERATION +answer +gpt-4o/);
});
