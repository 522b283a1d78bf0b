// A Rust program that is itself compiled to wasm and uses the crate: tests/rust-worker, built by `cargo xtask test`.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const RECEIVER = process.env.LANGFUSE_EDGE_BIN ?? join(ROOT, "target/debug/langfuse-edge");
const RUST_WORKER = process.env.LANGFUSE_EDGE_RUST_WORKER ?? join(ROOT, "target/rust-worker");

test("awaiting a flush in Rust compiled to wasm delivers", async (t) => {
  const receiver = spawn(RECEIVER, ["dev"], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => receiver.kill());
  const { value: line } = await createInterface({ input: receiver.stdout })[Symbol.asyncIterator]().next();
  const url = line.split(" on ")[1];
  const { recordTrace } = createRequire(import.meta.url)(join(RUST_WORKER, "rust_worker.js"));

  assert.equal(await recordTrace("pk-lf-dev", "sk-lf-dev", url), 2);

  const trees = await (await fetch(`${url}/dev/trees?format=text&normalized=true`)).text();
  assert.match(trees, /SPAN +request\n└─ GENERATION +answer +gpt-4o/);
});
