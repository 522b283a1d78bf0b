// Functions on Vercel, EdgeRuntime hosts, servers of one's own and AWS Lambda: what they record is delivered.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Langfuse, observe, startObservation, withLangfuseRequests } from "langfuse-edge";

import { startLambda } from "./support/lambda.mjs";
import { receiverFor } from "./support/receiver.mjs";
import { until } from "./support/until.mjs";

const named = (rows, name) => rows.find((row) => row.name === name) ?? assert.fail(`${name} is not among ${rows.map(({ name }) => name)}`);

async function rowsOf(receiver, count) {
  await until(async () => (await receiver.state()).rows >= count);
  return receiver.rows();
}

describe("a function for requests", () => {
  const request = new Request("http://localhost/chat?key=secret", { method: "POST", body: "hi" });
  const VERCEL = Symbol.for("@vercel/request-context");

  async function traced(t, handler, options = {}) {
    const receiver = await receiverFor(t);
    const client = new Langfuse(receiver.options);
    return { receiver, client, run: withLangfuseRequests((...args) => handler(client, ...args), { client, ...options }) };
  }

  test("is an observation with what is observed within, and gives its own response", async (t) => {
    const promises = [];
    const handler = async (client, request, context) => {
      startObservation("child", {}, { client }).end();
      return Response.json({ read: await request.text(), ...context });
    };
    const { receiver, run } = await traced(t, handler, { waitUntil: (promise) => promises.push(promise) });
    const response = await run(request.clone(), { params: 1 });
    assert.deepEqual(await response.json(), { read: "hi", params: 1 });
    const [report] = await Promise.all(promises);
    assert.deepEqual([report.ok, report.delivered, report.requests], [true, 2, 1]);
    const rows = await receiver.rows();
    const root = named(rows, "POST /chat");
    assert.equal(named(rows, "child").parentObservationId, root.id);
    assert.equal(root.metadata["url.full"], "http://localhost/chat");
  });

  for (const [host, name, global] of [
    ["Vercel", VERCEL, (waitUntil) => ({ get: () => ({ waitUntil }) })],
    ["EdgeRuntime", "EdgeRuntime", (waitUntil) => ({ waitUntil })],
  ]) {
    test(`uses the waitUntil of ${host}`, async (t) => {
      const promises = [];
      const { run } = await traced(t, () => new Response("ok"));
      globalThis[name] = global((promise) => promises.push(promise));
      const response = run(request.clone());
      delete globalThis[name];
      assert.equal(await (await response).text(), "ok");
      assert.deepEqual((await Promise.all(promises)).map(({ delivered }) => delivered), [1]);
    });
  }

  test("on a server of one's own is flushed beside, streams and errors included", async (t) => {
    const endless = observe(async function* () { for (;;) yield "more "; }, { name: "answer" });
    const { receiver, run } = await traced(t, (client, { url }) => {
      if (url.endsWith("/fail")) throw new TypeError("broken");
      return new Response(ReadableStream.from(endless()).pipeThrough(new TextEncoderStream()));
    });
    const reader = (await run(new Request("http://localhost/stream"))).body.getReader();
    await reader.read();
    await reader.cancel();
    assert.throws(() => run(new Request("http://localhost/fail")), { message: "broken" });
    const rows = await rowsOf(receiver, 2);
    assert.deepEqual([named(rows, "GET /stream").level, named(rows, "GET /fail").level], ["WARNING", "ERROR"]);
  });
});

describe("an AWS Lambda function", () => {
  async function startFunction(t, env) {
    const receiver = await receiverFor(t);
    return { receiver, ...(await startLambda(t, receiver, env)) };
  }

  test("has delivered what it recorded when it answers, and is frozen", async (t) => {
    const { receiver, invoke } = await startFunction(t);
    assert.deepEqual(await invoke({ order: 1 }), { kind: "response", body: { statusCode: 200, body: "done" } });
    const rows = await receiver.rows();
    const root = named(rows, "orders");
    assert.equal(root.metadata.awsRequestId, "request-1");
    assert.deepEqual([rows.length, named(rows, "work").parentObservationId], [2, root.id]);
  });

  test("that fails has delivered it, too, with level ERROR", async (t) => {
    const { receiver, invoke } = await startFunction(t);
    const { kind, body } = await invoke({ fails: true });
    assert.deepEqual([kind, body.errorType, body.errorMessage], ["error", "TypeError", "no such order"]);
    const root = named(await receiver.rows(), "orders");
    assert.deepEqual([root.level, root.statusMessage], ["ERROR", "no such order"]);
  });

  test("whose response is streamed holds nothing of it back, and has delivered when it is frozen", async (t) => {
    const { receiver, invoke } = await startFunction(t, { _HANDLER: "streaming" });
    await receiver.fault({ delayMs: 300 });
    for (const n of [1, 2]) {
      const { parts, ms } = await invoke({ n });
      assert.deepEqual(parts.map(({ text }) => text), ["first ", "last"]);
      const [first, last] = parts.map(({ ms }) => ms);
      assert.ok(last - first >= 50, "the first part does not wait for the last");
      assert.ok(ms - last >= 250, "the flush comes behind the last");
      const rows = await receiver.rows();
      assert.equal(rows.length, 2 * n);
      assert.equal(named(rows, "work").parentObservationId, named(rows, "orders").id);
    }
  });

  test("with little time left answers in time, and the next invocation delivers the rest", async (t) => {
    const { receiver, invoke } = await startFunction(t);
    await receiver.fault({ hang: true });
    const begun = performance.now();
    await invoke({ order: 1 }, 1500);
    assert.ok(performance.now() - begun < 1500, "it answers before its time is over");
    assert.equal((await receiver.state()).rows, 0);
    await receiver.fault({});
    await invoke({ order: 2 });
    assert.equal((await receiver.state()).rows, 4);
    assert.equal((await receiver.state()).duplicates, 0);
  });
});
