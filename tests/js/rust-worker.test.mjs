// Rust programs that are themselves compiled to wasm and use the crate: tests/rust-worker in Node.js, and examples/rust-worker in
// workerd, built by `cargo xtask test`.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

import { ROOT } from "./support/program.mjs";
import { KEYS, receiverFor, variablesFor } from "./support/receiver.mjs";
import { until } from "./support/until.mjs";
import { bundle, isComplaint, workersFor } from "./support/workerd.mjs";

const RUST_WORKER = process.env.LANGFUSE_EDGE_RUST_WORKER ?? join(ROOT, "target/rust-worker");

const EXAMPLE = process.env.LANGFUSE_EDGE_RUST_EXAMPLE ?? join(ROOT, "target/rust-worker-example");

test("awaiting a flush in Rust compiled to wasm delivers", async (t) => {
  const receiver = await receiverFor(t);
  const { recordTrace } = createRequire(import.meta.url)(join(RUST_WORKER, "rust_worker.js"));

  assert.equal(await recordTrace("pk-lf-dev", "sk-lf-dev", receiver.url), 2);

  assert.match(await receiver.trees(), /SPAN +request\n└─ GENERATION +answer +gpt-4o/);
});

test("steps in Rust compiled to wasm wait a second for their flush, handlers finish first, and the status tells of it", async (t) => {
  const receiver = await receiverFor(t, ["--fault", '{"delayMs":1500}']);
  const { runWorkflow } = createRequire(import.meta.url)(join(RUST_WORKER, "rust_worker.js"));
  const start = performance.now();
  const status = JSON.parse(await runWorkflow("pk-lf-dev", "sk-lf-dev", receiver.url));
  const seconds = (performance.now() - start) / 1000;
  assert.ok(seconds >= 2 && seconds < 6, `${seconds}`);
  assert.match(await receiver.trees(), /SPAN +root\n└─ SPAN +leaf/);
  assert.match(await receiver.trees(), /SPAN +from a handler/);
  const { enabled, whyDisabled, host, publicKey, open, queued, inFlight, delivered, lastError } = status;
  assert.deepEqual([enabled, whyDisabled, host, publicKey, open], [true, null, receiver.url, "pk-lf-dev", 0]);
  assert.deepEqual([queued, inFlight, delivered, lastError], [0, 0, 3, null]);
  assert.ok(Math.abs(Date.parse(status.lastDelivery) - Date.now()) < 10_000);
  assert.ok(!JSON.stringify(status).includes(KEYS.secretKey));
});

/** The example in workerd. */
async function startExample(t, bindings) {
  const modules = await bundle(pathToFileURL(join(EXAMPLE, "index.js")));
  const { url, lines } = await workersFor(t, { compatibilityDate: "2026-04-01" }, [{ name: "rust", modules, bindings }]);
  const ask = async (question) => (await fetch(new URL("/chat?key=secret", url), { method: "POST", body: question })).text();
  return { ask, lines };
}

const env = ({ url }) => ({ ...variablesFor(url), LANGFUSE_TIMEOUT: "1" });

test("the Worker in Rust answers before its flush is over, which delivers", async (t) => {
  const receiver = await receiverFor(t);
  const { ask, lines } = await startExample(t, env(receiver));
  await receiver.fault({ delayMs: 1000 });
  assert.equal(await ask("Why?"), "An answer to: Why?");
  assert.equal((await receiver.state()).rows, 0, "the answer came first");
  await until(async () => /SPAN +POST \/chat\n└─ GENERATION +answer +5 → 7 tokens +gpt-4o/.test(await receiver.trees()));
  assert.deepEqual(lines.filter(isComplaint), []);
});

test("overlapping requests of the Worker in Rust are delivered, also what fails at first", async (t) => {
  const receiver = await receiverFor(t);
  const { ask, lines } = await startExample(t, env(receiver));
  await receiver.fault({ status: 503, first: 2 });
  await Promise.all(Array.from({ length: 10 }, (_, n) => ask(`question ${n}`)));
  await until(async () => (await receiver.state()).rows === 20, 10_000);
  assert.deepEqual(lines.filter(isComplaint), []);
});

test("the Worker in Rust works without keys", async (t) => {
  const { ask } = await startExample(t, {});
  assert.equal(await ask("Why?"), "An answer to: Why?");
});
