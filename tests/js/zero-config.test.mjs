// What is recorded is flushed without being asked for, where the host or the user has a `waitUntil`; in workerd: tests/workers.
import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { EdgeRuntime } from "edge-runtime";
import * as esbuild from "esbuild";
import { Langfuse } from "langfuse-edge";

import { startEdgeFunction } from "./support/edge-runtime.mjs";
import { receiverFor } from "./support/receiver.mjs";
import { startScript } from "./support/program.mjs";

describe("the option waitUntil", () => {
  test("gets a promise that delivers what is recorded, all of a turn at once", async (t) => {
    const receiver = await receiverFor(t);
    const promises = [];
    const langfuse = new Langfuse({ ...receiver.options, waitUntil: (promise) => promises.push(promise) });
    for (let n = 0; n < 5; n++) langfuse.startObservation(`one ${n}`).end();
    langfuse.score.create({ name: "good", value: 1, sessionId: "session" });
    langfuse.startObservation("event", {}, { asType: "event" });
    // One, unless the clock goes on meanwhile.
    assert.ok(promises.length >= 1 && promises.length <= 7);
    await Promise.all(promises);
    const { rows, scores, requests } = await receiver.state();
    assert.deepEqual([rows, scores, requests], [6, 1, 2]);

    langfuse.startObservation("another turn").end();
    await promises.at(-1);
    assert.equal((await receiver.state()).rows, 7);
  });

  test("gets nothing for what is not to be sent", async (t) => {
    const receiver = await receiverFor(t);
    const promises = [];
    const options = { ...receiver.options, waitUntil: (promise) => promises.push(promise) };
    new Langfuse({ ...options, sampleRate: 0 }).startObservation("not kept").end();
    new Langfuse({ ...options, enabled: false }).startObservation("not recorded").end();
    new Langfuse(options).startObservation("not ended");
    assert.deepEqual(promises, []);
  });

  test("that throws breaks nothing, and what is recorded waits for a flush", async (t) => {
    const receiver = await receiverFor(t);
    const waitUntil = () => {
      throw new TypeError("outside of a request");
    };
    const langfuse = new Langfuse({ ...receiver.options, waitUntil });
    langfuse.startObservation("one").end();
    assert.equal((await langfuse.flush()).delivered, 1);
  });

  test("must be a function or false", () => {
    assert.throws(() => new Langfuse({ waitUntil: true }), { message: "langfuse-edge: waitUntil must be a function that takes a promise, or false" });
    assert.throws(() => Langfuse.fromEnv({}, { waitUntil: "later" }), /waitUntil must be a function/);
  });
});

test("requests that go on in one turn, as when they have waited for the same, register a flush each", async (t) => {
  const receiver = await receiverFor(t);
  const contexts = new AsyncLocalStorage();
  const vercel = Symbol.for("@vercel/request-context");
  globalThis[vercel] = { get: () => contexts.getStore() };
  t.after(() => delete globalThis[vercel]);
  const now = Date.now();
  t.mock.method(Date, "now", () => now);
  const langfuse = new Langfuse({ ...receiver.options, flushInterval: 0 });
  const promises = [[], []];
  for (const own of promises) {
    contexts.run({ waitUntil: (promise) => own.push(promise) }, () => {
      for (let n = 0; n < 3; n++) langfuse.startObservation(`one ${n}`).end();
    });
  }
  assert.deepEqual(promises.map(({ length }) => length), [1, 1]);
  await Promise.all(promises.flat());
  assert.equal((await receiver.state()).rows, 6);
});

test("a host with a global EdgeRuntime delivers what a script records, and waits for nothing else", async (t) => {
  const receiver = await receiverFor(t);
  const script = startScript(
    t,
    `import { Langfuse } from "langfuse-edge";
     const promises = [];
     globalThis.EdgeRuntime = { waitUntil: (promise) => promises.push(promise) };
     const langfuse = new Langfuse(${JSON.stringify(receiver.options)});
     langfuse.startObservation("one").end();
     await Promise.all(promises);
     process.kill(process.pid, "SIGKILL");`,
  );
  assert.equal((await script.done).signal, "SIGKILL", "it is gone as a frozen one is");
  assert.equal((await receiver.state()).rows, 1);
});

describe("in Vercel's edge-runtime", () => {
  const entry = fileURLToPath(new URL("support/edge-function.mjs", import.meta.url));

  /** A function that records, and whose clock goes on when it is told to. */
  async function start(t) {
    const receiver = await receiverFor(t);
    const contexts = new AsyncLocalStorage();
    const said = [];
    const runtime = await startEdgeFunction({ esbuild, EdgeRuntime }, entry, {
      LANGFUSE_OPTIONS: receiver.options,
      SAID: said,
      [Symbol.for("@vercel/request-context")]: { get: () => contexts.getStore() },
    });
    const ask = async (path, context) => (await contexts.run(context, () => runtime.dispatchFetch(`http://edge/${path}`))).text();
    return { receiver, said, ask };
  }

  test("each request registers its own flush with its own context", async (t) => {
    const { receiver, said, ask } = await start(t);
    const promises = [[], []];
    await Promise.all(promises.map((own) => ask("record", { waitUntil: (promise) => own.push(promise) })));
    assert.deepEqual(promises.map(({ length }) => length), [1, 1]);
    await Promise.all(promises.flat());
    assert.equal((await receiver.state()).rows, 2);
    assert.deepEqual(said, []);
  });

  test("without a context one warning says that nothing flushes, unless something does", async (t) => {
    const { receiver, said, ask } = await start(t);
    await ask("record");
    await ask("flush");
    await ask("record?later=11000");
    assert.deepEqual(said, [], "somebody flushes");
    for (let n = 0; n < 3; n++) await ask("record?later=11000");
    assert.deepEqual(said, ["langfuse-edge: nothing flushes what was recorded: use withLangfuse, the option waitUntil, or flush()"]);
    assert.equal((await receiver.state()).rows, 1);
  });
});
