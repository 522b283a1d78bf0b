// Workers that are traced by `withLangfuse`, in workerd: whatever an invocation's end is, its trace is delivered.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { supportedCompatibilityDate as NEWEST } from "miniflare";

import { receiverFor, variablesFor } from "./support/receiver.mjs";
import { until } from "./support/until.mjs";
import { bundle, isComplaint, workersFor } from "./support/workerd.mjs";

const FOLDER = new URL("workerd/", import.meta.url);
const [traced, leaver, consumer] = await Promise.all(
  ["traced.mjs", "leaver.mjs", "consumer.mjs"].map((name) => bundle(new URL(name, FOLDER))),
);

/** A traced Worker and its receiver; `call` asks for a path, directly or by one who leaves. */
async function start(t, { compatibilityDate = NEWEST, compatibilityFlags = ["nodejs_compat"], bindings = {} } = {}) {
  const receiver = await receiverFor(t);
  const env = {
    ...variablesFor(receiver.url),
    LANGFUSE_TIMEOUT: "1",
    ...bindings,
  };
  const compatibility = { compatibilityDate, compatibilityFlags };
  const { url, lines, miniflare } = await workersFor(t, compatibility, [
    {
      name: "traced",
      modules: traced,
      bindings: env,
      serviceBindings: { SELF: { name: "traced", entrypoint: "Adder" } },
      durableObjects: { COUNTER: "Counter" },
      queueProducers: { OVERFLOW: "overflow" },
    },
    { name: "leaver", modules: leaver, serviceBindings: { TRACED: "traced" } },
    {
      name: "consumer",
      modules: consumer,
      bindings: env,
      queueConsumers: { overflow: { maxBatchSize: 10, maxBatchTimeout: 0, maxRetries: 5 } },
    },
  ]);
  const leaverWorker = await miniflare.getWorker("leaver");
  return {
    receiver,
    lines,
    call: (path, init) => fetch(new URL(path, url), init),
    leave: async (path) => (await leaverWorker.fetch(`http://leaver${path}`)).text(),
    traced: await miniflare.getWorker("traced"),
    /** The rows, when so many have arrived. */
    rows: async (count) => {
      await until(async () => (await receiver.state()).rows >= count);
      return receiver.rows();
    },
  };
}

const named = (rows, name) => rows.find((row) => row.name === name) ?? assert.fail(`${name} is not among ${rows.map(({ name }) => name)}`);
const own = ({ metadata }, name) => metadata[name];

describe("an invocation", () => {
  test("is an observation with what is observed within below it, delivered in one request", async (t) => {
    const { call, rows, receiver, lines } = await start(t);
    const response = await call("/ok?token=secret");
    assert.equal(await response.text(), "ok");
    const arrived = await rows(2);
    const [root, child] = [named(arrived, "GET /ok"), named(arrived, "child")];
    assert.deepEqual([root.type, root.parentObservationId, child.parentObservationId], ["SPAN", null, root.id]);
    assert.equal(own(root, "http.request.method"), "GET");
    assert.match(own(root, "url.full"), /^http:\/\/[^/]+\/ok$/, "without the query");
    assert.equal(`${own(root, "http.response.status_code")}`, "200");
    assert.equal((await receiver.state()).requests, 1);
    assert.deepEqual(lines.filter(isComplaint), []);
  });

  test("may be asynchronous, and the response is what the handler gave", async (t) => {
    const { call, rows } = await start(t);
    const response = await call("/async");
    assert.deepEqual([response.status, response.headers.get("content-type"), await response.json()], [201, "application/json", { ok: true }]);
    const arrived = await rows(2);
    assert.equal(named(arrived, "active").parentObservationId, named(arrived, "GET /async").id);
  });

  for (const [path, message] of [["/error", "no such thing"], ["/rejected", "not now"]]) {
    test(`that fails (${path}) has level ERROR, and the error goes on`, async (t) => {
      const { call, rows } = await start(t);
      assert.equal((await call(path)).status, 500);
      const [root] = await rows(1);
      assert.deepEqual([root.level, root.statusMessage], ["ERROR", message]);
    });
  }

  test("that answers 5xx has level ERROR", async (t) => {
    const { call, rows } = await start(t);
    assert.equal((await call("/503")).status, 503);
    const [root] = await rows(1);
    assert.deepEqual([root.level, root.statusMessage], ["ERROR", "HTTP 503"]);
  });

  test("continues the trace of who calls", async (t) => {
    const { call, rows } = await start(t);
    const [traceId, spanId] = ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"];
    const response = await call("/traceparent", { headers: { traceparent: `00-${traceId}-${spanId}-01` } });
    const [root] = await rows(1);
    assert.deepEqual([root.traceId, root.parentObservationId], [traceId, spanId]);
    assert.equal(await response.text(), `00-${traceId}-${root.id}-01`);
  });

  test("works where there is no AsyncLocalStorage, on an old compatibility date", async (t) => {
    const { call, rows } = await start(t, { compatibilityDate: "2024-09-01", compatibilityFlags: [] });
    assert.equal(await (await call("/ok")).text(), "ok");
    const arrived = await rows(2);
    assert.equal(named(arrived, "child").parentObservationId, null, "it has no way to know");
  });

  test("without keys is not traced, and nothing is said but one warning", async (t) => {
    const { call, receiver, lines } = await start(t, { bindings: { LANGFUSE_SECRET_KEY: "" } });
    for (let n = 0; n < 3; n++) assert.equal(await (await call("/ok")).text(), "ok");
    assert.equal((await receiver.state()).requests, 0);
    assert.equal(lines.filter((line) => line.includes("langfuse-edge")).length, 1, lines.join("\n"));
  });

  test("with a key that cannot be used is not traced, and works", async (t) => {
    const { call, lines } = await start(t, { bindings: { LANGFUSE_BASE_URL: "nonsense" } });
    assert.equal(await (await call("/ok")).text(), "ok");
    assert.match(lines.join("\n"), /baseUrl \(LANGFUSE_BASE_URL\) must be .*tracing is disabled/);
  });
});

describe("a streamed response", () => {
  test("ends its observation when it has been read, and what has ended before is there before", async (t) => {
    const { call, rows, receiver } = await start(t);
    const before = performance.now();
    const response = await call("/stream");
    assert.ok(performance.now() - before < 300, "nothing waits for the stream");
    assert.equal(response.headers.get("content-type"), "text/event-stream");
    assert.equal((await response.text()).split("\n").length, 21);
    const [root] = await rows(1);
    assert.equal(root.level, "DEFAULT");
    assert.ok(new Date(root.endTime) - new Date(root.startTime) >= 380, "it lasts as long as the stream");
    assert.equal((await receiver.state()).requests, 1);
  });

  test("that its reader cancels is delivered, with level WARNING", async (t) => {
    const { leave, rows, lines } = await start(t);
    assert.equal(await leave("/endless?parts=3&cancel"), "left");
    const [root] = await rows(1);
    assert.deepEqual([root.level, root.statusMessage], ["WARNING", "the client left before the end of the response"]);
    assert.deepEqual(lines.filter(isComplaint), []);
  });

  for (const [when, parts] of [["soon", 3], ["long after the flush of what had ended before", 30]]) {
    test(`whose client is gone ${when} is delivered, with level WARNING`, async (t) => {
      const { leave, rows, lines } = await start(t);
      assert.equal(await leave(`/endless?parts=${parts}`), "left");
      const [root] = await rows(1);
      assert.equal(root.level, "WARNING");
      assert.deepEqual(lines.filter(isComplaint), []);
    });
  }
});

test("a request that is cancelled is delivered", async (t) => {
  const { leave, rows } = await start(t);
  assert.equal(await leave("/slow?parts=0"), "cancelled");
  const arrived = await rows(2);
  assert.deepEqual(arrived.map(({ name }) => name).sort(), ["GET /slow", "child"]);
});

test("a request for the head only is delivered", async (t) => {
  const { call, rows } = await start(t);
  assert.equal((await call("/ok", { method: "HEAD" })).status, 200);
  const arrived = await rows(2);
  assert.equal(named(arrived, "HEAD /ok").level, "DEFAULT");
});

test("twenty overlapping requests are twenty traces", async (t) => {
  const { call, rows, receiver } = await start(t);
  await Promise.all(Array.from({ length: 20 }, async () => (await call("/ok")).text()));
  const arrived = await rows(40);
  assert.equal(new Set(arrived.map(({ traceId }) => traceId)).size, 20);
  for (const child of arrived.filter(({ name }) => name === "child")) {
    const root = arrived.find(({ id }) => id === child.parentObservationId);
    assert.deepEqual([root?.name, root?.traceId], ["GET /ok", child.traceId]);
  }
  assert.equal((await receiver.state()).duplicates, 0);
});

test("a scheduled event is an observation, also when it fails", async (t) => {
  const { traced, rows } = await start(t);
  await traced.scheduled({ cron: "*/5 * * * *", scheduledTime: new Date(1_700_000_000_000) });
  await traced.scheduled({ cron: "0 0 * * *" });
  const arrived = await rows(4);
  const root = named(arrived, "scheduled */5 * * * *");
  assert.deepEqual([own(root, "cron"), root.level], ["*/5 * * * *", "DEFAULT"]);
  assert.ok(arrived.some(({ name, parentObservationId }) => name === "job" && parentObservationId === root.id));
  assert.deepEqual([named(arrived, "scheduled 0 0 * * *").level, named(arrived, "scheduled 0 0 * * *").statusMessage], ["ERROR", "at midnight"]);
});

test("each message of a queue is an observation, and what is to come again says so", async (t) => {
  const { traced, rows } = await start(t);
  const message = (id, body) => ({ id, timestamp: new Date(), attempts: 2, body });
  const result = await traced.queue("mails", [message("1", "good"), message("2", "bad"), message("3", "neither")]);
  assert.deepEqual(result.explicitAcks, ["1"]);
  assert.deepEqual(result.retryMessages.map(({ msgId }) => msgId), ["2"]);
  const arrived = await rows(4);
  const root = named(arrived, "queue mails");
  const messages = arrived.filter(({ name }) => name === "message");
  assert.deepEqual(
    messages.map(({ input, level, parentObservationId }) => [input, level, parentObservationId]).sort(),
    [["bad", "WARNING", root.id], ["good", "DEFAULT", root.id], ["neither", "DEFAULT", root.id]],
  );
});

test("entrypoint classes, their methods for others and Durable Objects are traced", async (t) => {
  const { call, rows } = await start(t);
  assert.deepEqual(await (await call("/rpc")).json(), [3, 1]);
  const arrived = await rows(6);
  const add = named(arrived, "rpc add");
  assert.equal(named(arrived, "sum").parentObservationId, add.id);
  assert.equal(named(arrived, "rpc increment").level, "DEFAULT");
  assert.equal(named(arrived, "in the alarm").parentObservationId, named(arrived, "alarm").id);
});

test("what Langfuse does not take in time is delivered by the overflow queue, once", async (t) => {
  const { call, rows, receiver, lines } = await start(t);
  await receiver.fault({ status: 503 });
  for (let n = 0; n < 3; n++) assert.equal(await (await call("/ok")).text(), "ok");
  await until(() => lines.some((line) => line.includes("overflow queue is not delivered: HTTP 503")));
  await receiver.fault({});
  const arrived = await rows(6);
  assert.deepEqual(arrived.map(({ name }) => name).sort(), ["GET /ok", "GET /ok", "GET /ok", "child", "child", "child"]);
  assert.equal((await receiver.state()).duplicates, 0);
});
