// The server of the examples: real runs, real signals, and nothing unaccounted for.
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, test } from "node:test";

import { ROOT, start } from "./support/program.mjs";
import { receiverFor, variablesFor } from "./support/receiver.mjs";

const SERVER = join(ROOT, "examples/node-server/index.mjs");
const ABORTED = "aborted: the server is ending";
/** What comes after the grace period at most: steps, clients and the last flush. */
const AFTER_GRACE_MS = 16_000;

/** A process of the example, which is ended with the test. */
async function serverFor(t, receiver, graceSeconds = 10, env = {}) {
  const program = start(process.execPath, [SERVER], {
    ...variablesFor(receiver.url),
    PORT: "0",
    GRACE_SECONDS: String(graceSeconds),
    ...env,
  });
  t.after(() => program.kill("SIGKILL"));
  const [, url] = await program.line(/^listening on (http:\S+)$/);
  const post = (order) => fetch(`${url}/runs`, { method: "POST", body: typeof order === "string" ? order : JSON.stringify(order) });
  const get = async (path) => {
    const response = await fetch(`${url}${path}`);
    return [response.status, await response.json()];
  };
  /** Starts a run and gives its id. */
  const run = async (order) => (await (await post(order)).json()).id;
  /** The events of a run until its end, or the server's; `told` is called for each. */
  const watch = async (id, told = () => {}) => {
    const response = await fetch(`${url}/runs/${id}/events`);
    assert.equal(response.headers.get("content-type"), "text/event-stream");
    const events = [];
    let text = "";
    try {
      for await (const part of response.body.pipeThrough(new TextDecoderStream())) {
        const parts = (text + part).split("\n\n");
        text = parts.pop();
        for (const part of parts) {
          const [, event, data] = /^event: (\w+)\ndata: (.*)$/.exec(part);
          events.push({ event, ...JSON.parse(data) });
          told(id);
        }
      }
    } catch (error) {
      // The server was killed.
      assert.match(`${error} ${error.cause}`, /terminated|other side closed/);
    }
    return events;
  };
  /** Tells it to end; what it says of it, when it ends well. */
  const end = async (signal = "SIGTERM") => {
    program.kill(signal);
    const { code, output } = await program.done;
    assert.equal(code, 0, output);
    return output;
  };
  return { ...program, url, post, get, run, watch, end };
}

/** The last line of a server that has delivered everything. */
const delivered = (observations) => new RegExp(`\ndelivered: ${observations}, rejected: 0, dropped: 0, retained: 0$`);

/** What has arrived, by the ids of runs. */
async function tracesOf(receiver) {
  const rows = await receiver.rows();
  const roots = rows.filter(({ parentObservationId }) => !parentObservationId);
  return new Map(roots.map((root) => [root.metadata.run, rows.filter(({ traceId }) => traceId === root.traceId)]));
}

/** Calls back when it has been called so often. */
function counted(enough) {
  let tell;
  const reached = new Promise((resolve) => (tell = resolve));
  const ids = [];
  const count = (id) => {
    ids.push(id);
    if (enough(ids)) tell();
  };
  return { count, reached };
}

describe("the server", { concurrency: 2 }, () => {
  test("starts a run, which can be watched step by step and asked for its result", async (t) => {
    const receiver = await receiverFor(t);
    const server = await serverFor(t, receiver);
    const started = await server.post({ topic: "tea", sections: 2 });
    assert.equal(started.status, 202);
    const { id } = await started.json();
    assert.equal(started.headers.get("location"), `/runs/${id}`);
    assert.deepEqual(await server.get(`/runs/${id}`), [200, { id, status: "running" }]);
    const events = await server.watch(id);
    assert.deepEqual(events.map(({ step }) => step), ["outline", "section 1", "section 2", "review", undefined]);
    const { event, ...end } = events.at(-1);
    assert.deepEqual([event, end.status], ["end", "done"]);
    assert.deepEqual(await server.get(`/runs/${id}`), [200, end]);
    assert.deepEqual(await server.watch(id), events, "they can be watched again, from the beginning");
    assert.match(await server.end(), delivered(9));
    assert.equal(
      await receiver.trees(),
      `trace  write_article
AGENT             write_article
├─ SPAN           outline
│  └─ GENERATION  ask_model      9 → 9 tokens  gpt-4o
├─ SPAN           section 1
│  └─ GENERATION  ask_model      9 → 9 tokens  gpt-4o
├─ SPAN           section 2
│  └─ GENERATION  ask_model      9 → 9 tokens  gpt-4o
└─ SPAN           review
   └─ GENERATION  ask_model      9 → 9 tokens  gpt-4o
`,
    );
  });

  test("says why a run has failed, and so does its trace", async (t) => {
    const receiver = await receiverFor(t);
    const server = await serverFor(t, receiver);
    const id = await server.run({ topic: "tea", sections: 0 });
    const error = "an article needs a section";
    assert.deepEqual((await server.watch(id)).at(-1), { event: "end", id, status: "failed", error });
    await server.end("SIGINT");
    const rows = await receiver.rows();
    for (const failed of ["review", "write_article"]) {
      const { level, statusMessage } = rows.find(({ name }) => name === failed);
      assert.deepEqual([level, statusMessage], ["ERROR", error]);
    }
  });

  test("refuses what it cannot serve", async (t) => {
    const server = await serverFor(t, await receiverFor(t));
    for (const [status, order] of [
      [400, "tea"],
      [400, {}],
      [400, { topic: 1 }],
      [400, { topic: "tea", sections: -1 }],
      [400, { topic: "tea", sections: 256 }],
      [413, { topic: "x".repeat(70_000) }],
    ]) {
      assert.equal((await server.post(order)).status, status, JSON.stringify(order).slice(0, 40));
    }
    assert.deepEqual(await server.get("/runs/1"), [404, { error: "there is no such run" }]);
    assert.equal((await server.get("/runs/1/events"))[0], 404);
    assert.equal((await fetch(`${server.url}/runs`, { method: "DELETE" })).status, 405);
  });

  test("keeps the traces of fifty runs at a time apart", async (t) => {
    const receiver = await receiverFor(t);
    const server = await serverFor(t, receiver);
    const ids = await Promise.all(Array.from({ length: 50 }, (_, topic) => server.run({ topic: `topic-${topic}.` })));
    for (const events of await Promise.all(ids.map((id) => server.watch(id)))) assert.equal(events.at(-1).status, "done");
    assert.match(await server.end(), delivered(50 * 11));
    const traces = await tracesOf(receiver);
    assert.deepEqual([...traces.keys()].toSorted(), ids.toSorted());
    for (const rows of traces.values()) {
      const { topic } = JSON.parse(rows.find(({ parentObservationId }) => !parentObservationId).input);
      const calls = rows.filter(({ type }) => type === "GENERATION");
      assert.deepEqual([rows.length, calls.length], [11, 5], topic);
      for (const { input } of calls) assert.ok(input.includes(topic), `${topic}: ${input}`);
    }
  });

  test("leaves nothing unaccounted for at a signal in the middle of fifty runs", async (t) => {
    const receiver = await receiverFor(t);
    const server = await serverFor(t, receiver, 3);
    const begun = counted((ids) => new Set(ids).size === 50);
    const long = new Set();
    const watched = await Promise.all(
      Array.from({ length: 50 }, async (_, number) => {
        const id = await server.run({ topic: "tea", sections: number % 2 ? 1 : 255 });
        if (number % 2 === 0) long.add(id);
        return { id, events: server.watch(id, begun.count) };
      }),
    );
    await begun.reached;

    const asked = performance.now();
    const ending = server.line(/^ending: \d+ runs have 3 s to finish$/);
    server.kill("SIGTERM");
    await ending;
    assert.equal((await server.post({ topic: "tea" })).status, 503);
    const [done, aborted] = [new Map(), new Map()];
    for (const { id, events } of watched) {
      const told = await events;
      const { event, status } = told.pop();
      assert.equal(event, "end", `${id} has been told of to its end`);
      (status === "done" ? done : aborted).set(id, told);
    }
    const { code, output } = await server.done;
    const took = performance.now() - asked;

    assert.equal(code, 0, output);
    assert.ok([...long].every((id) => aborted.has(id)) && done.size > 0, `${done.size} were done`);
    assert.ok(took < 3000 + AFTER_GRACE_MS, `${took} ms`);
    const { observations, duplicates } = await receiver.state();
    assert.match(output, delivered(observations));
    assert.equal(duplicates, 0);
    const traces = await tracesOf(receiver);
    assert.equal(traces.size, 50);
    for (const [id, told] of [...done, ...aborted]) {
      const spans = traces.get(id).filter(({ type }) => type === "SPAN").map(({ name }) => name);
      assert.deepEqual(spans.toSorted(), told.map(({ step }) => step).toSorted(), id);
    }
    for (const id of aborted.keys()) {
      const endsOf = (type) =>
        traces.get(id).filter((row) => row.type === type && row.level !== "DEFAULT").map(({ level, statusMessage }) => [level, statusMessage]);
      assert.deepEqual([endsOf("AGENT"), endsOf("SPAN")], [[["ERROR", ABORTED]], [["ERROR", ABORTED]]]);
    }
  });

  test("ends at once at a second signal", async (t) => {
    for (const [signal, code] of [["SIGTERM", 143], ["SIGINT", 130]]) {
      const server = await serverFor(t, await receiverFor(t), 600);
      await server.run({ topic: "tea", sections: 255 });
      const ending = server.line(/^ending: 1 runs have 600 s to finish$/);
      server.kill("SIGTERM");
      await ending;
      const asked = performance.now();
      server.kill(signal);
      const { code: exit, output } = await server.done;
      assert.deepEqual([exit, output.split("\n").length], [code, 2], output);
      assert.ok(performance.now() - asked < 5000);
    }
  });

  test("has delivered every step that it has told of when it is killed", async (t) => {
    const receiver = await receiverFor(t);
    // Nothing but steps flushes.
    const server = await serverFor(t, receiver, 10, { LANGFUSE_FLUSH_AT: "100000", LANGFUSE_FLUSH_INTERVAL: "600" });
    const told = counted((ids) => ids.length === 100);
    const ids = await Promise.all(Array.from({ length: 20 }, () => server.run({ topic: "tea", sections: 255 })));
    const watched = Promise.all(ids.map((id) => server.watch(id, told.count)));
    await told.reached;
    server.kill("SIGKILL");
    assert.equal((await server.done).signal, "SIGKILL");
    const rows = await receiver.rows();
    // A step that has waited for a second may have gone on without its flush.
    const flushed = (await watched).flatMap((events) => events.filter(({ ms }) => ms < 1000));
    assert.ok(flushed.length >= 10, `${flushed.length} steps were flushed within a second`);
    for (const name of new Set(flushed.map(({ step }) => step))) {
      const told = flushed.filter(({ step }) => step === name).length;
      const arrived = rows.filter((row) => row.name === name).length;
      assert.ok(arrived >= told, `${name}: ${told} told of, ${arrived} there`);
    }
  });

  test("ends within its bounds while Langfuse is away, and says what it has not delivered", async (t) => {
    const receiver = await receiverFor(t);
    await receiver.fault({ hang: true });
    const server = await serverFor(t, receiver, 1);
    const begun = counted((ids) => ids.length === 1);
    const watched = server.watch(await server.run({ topic: "tea", sections: 255 }), begun.count);
    await begun.reached;
    const asked = performance.now();
    const output = await server.end();
    assert.ok(performance.now() - asked < 1000 + AFTER_GRACE_MS);
    const events = await watched;
    assert.equal(events.at(-1).status, "aborted");
    const [, retained] = /\ndelivered: 0, rejected: 0, dropped: 0, retained: (\d+)$/.exec(output) ?? assert.fail(output);
    // The step that was aborted may not have begun its call.
    const observations = 2 * (events.length - 1) + 1;
    assert.ok([observations, observations - 1].includes(Number(retained)), `${retained} of ${observations}`);
  });

  test("works untraced without keys", async (t) => {
    const server = await serverFor(t, await receiverFor(t), 10, { LANGFUSE_PUBLIC_KEY: "" });
    assert.equal((await server.watch(await server.run({ topic: "tea", sections: 1 }))).at(-1).status, "done");
    assert.match(await server.end(), delivered(0));
  });
});
