// The package that `wasm-pack build --target nodejs` makes, without the TypeScript layer.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";
import { test } from "node:test";

import { ROOT, startScript } from "./support/program.mjs";
import { receiverFor } from "./support/receiver.mjs";

const PACKAGE = process.env.LANGFUSE_EDGE_BARE ?? join(ROOT, "target/bare-package");
const { Langfuse, Observation } = createRequire(import.meta.url)(PACKAGE);

test("a trace recorded with it arrives as it was recorded", async (t) => {
  const receiver = await receiverFor(t);
  const langfuse = new Langfuse(receiver.options);
  const root = langfuse.startObservation("request", { input: { question: "?" } }, { asType: "agent", startTime: 1_000 });
  const llm = root.startObservation("answer", { model: "gpt-4o" }, { asType: "generation", startTime: 1_100 });
  llm.update({ output: "!" }).update({ usageDetails: { input: 5, output: 7 }, level: "WARNING" }).end(1_200);
  root.update({ output: "done" }).end(1_300);
  const report = await langfuse.flush();
  assert.deepEqual([report.ok, report.delivered, report.requests], [true, 2, 1]);
  assert.equal(
    await receiver.trees(),
    `trace  request
AGENT          request
└─ GENERATION  answer   5 → 7 tokens  WARNING  gpt-4o
`,
  );
  const [answer, request] = await receiver.rows();
  assert.deepEqual([request.input, request.output], ['{"question":"?"}', "done"]);
  assert.deepEqual([answer.output, answer.parentObservationId, answer.id], ["!", root.id, llm.id]);
});

test("an update returns a handle of the same observation", async (t) => {
  const receiver = await receiverFor(t);
  const langfuse = new Langfuse(receiver.options);
  const first = langfuse.startObservation("one", {}, { asType: "tool" });
  const second = first.update({ input: 1 });
  assert.ok(second instanceof Observation);
  assert.deepEqual([second.id, second.traceId, second.type], [first.id, first.traceId, "tool"]);
  first.free();
  second.update({ output: 2 }).end();
  second.end();
  assert.equal((await langfuse.flush()).delivered, 1);
  const [row] = await receiver.rows();
  assert.deepEqual([row.input, row.output, row.level], ["1", "2", "DEFAULT"]);
});

test("the handles that updates return do not end the observation when they are collected", async (t) => {
  const receiver = await receiverFor(t);
  const source = `
    import { createRequire } from "node:module";
    const { Langfuse } = createRequire(import.meta.url)(${JSON.stringify(PACKAGE)});
    const langfuse = new Langfuse(${JSON.stringify(receiver.options)});
    const open = langfuse.startObservation("open");
    for (let n = 0; n < 1000; n++) open.update({ input: n });
    for (let n = 0; n < 20; n++) {
      gc();
      await new Promise((resolve) => setImmediate(resolve));
    }
    if ((await langfuse.flush()).delivered !== 0) throw new Error("it was ended");
    open.end();
    console.log((await langfuse.flush()).delivered);`;
  const { code, output } = await startScript(t, source, {}, { gc: true }).done;
  assert.deepEqual([code, output], [0, "1"]);
  const [row] = await receiver.rows();
  assert.deepEqual([row.input, row.level], ["999", "DEFAULT"]);
});

test("a failed attempt is repeated, and a bad option is an Error", async (t) => {
  const receiver = await receiverFor(t);
  await receiver.fault({ reset: true, first: 1 });
  const langfuse = new Langfuse(receiver.options);
  langfuse.startObservation("one").end();
  const report = await langfuse.flush();
  assert.deepEqual([report.ok, report.delivered, report.attempts, report.ambiguous], [true, 1, 2, 1]);
  assert.throws(() => new Langfuse({ ...receiver.options, baseUrl: "nowhere" }), /^Error: langfuse-edge: baseUrl/);
});
