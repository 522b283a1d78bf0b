// What flush promises, on Node: the fault scenarios with their numbers, the report, and nothing left behind.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { Langfuse } from "langfuse-edge";

import { httpServerFor, nobodyListens } from "./support/http-server.mjs";
import { ROOT, startScript } from "./support/program.mjs";
import { KEYS, receiverFor } from "./support/receiver.mjs";
import { until } from "./support/until.mjs";

/** Records `count` small observations and gives their ids. */
function record(langfuse, count) {
  return Array.from({ length: count }, (_, n) => {
    const observation = langfuse.startObservation("small", { input: `payload ${n}` });
    observation.end();
    return observation.id;
  });
}

/** What a flush achieved, with what the receiver had at the moment its promise was settled. */
async function flushed(langfuse, receiver, options) {
  const start = performance.now();
  const report = await langfuse.flush(options);
  const milliseconds = performance.now() - start;
  return { report, milliseconds, ...(await receiver.state()) };
}

/** The whole report but its sizes and times. */
const accounts = ({ bytes, durationMs, ...rest }) => rest;
const report = (known) => ({
  ok: true,
  delivered: 0,
  rejected: [],
  retained: 0,
  dropped: 0,
  dropReasons: {},
  handedOver: 0,
  requests: 1,
  attempts: 1,
  ambiguous: 0,
  ...known,
});

const between = (value, low, high) => assert.ok(low <= value && value <= high, `${value} is not within ${low} and ${high}`);

describe("faults", { concurrency: 8 }, () => {
  test("F1: 40 observations are delivered by one request when flush is settled", async (t) => {
    const receiver = await receiverFor(t);
    const langfuse = new Langfuse(receiver.options);
    const ids = record(langfuse, 40);
    const result = await flushed(langfuse, receiver);
    assert.deepEqual(accounts(result.report), report({ delivered: 40 }));
    assert.deepEqual([result.observations, result.rows, result.requests], [40, 40, 1]);
    const [request] = await receiver.requests();
    assert.deepEqual(request.observationIds.toSorted(), ids.toSorted());
    assert.equal(request.bytes, result.report.bytes);
    assert.deepEqual([request.contentType, request.sdkName], ["application/x-protobuf", "langfuse-edge"]);
  });

  test("F2: a flush waits for what is on the wire already", async (t) => {
    const receiver = await receiverFor(t);
    await receiver.fault({ delayMs: 1000 });
    const langfuse = new Langfuse(receiver.options);
    record(langfuse, 20);
    const first = langfuse.flush();
    await until(async () => (await receiver.state()).requests === 1);
    assert.equal((await receiver.state()).rows, 0, "the batch is on the wire, and not answered");
    const result = await flushed(langfuse, receiver);
    assert.deepEqual([result.rows, result.requests], [20, 1]);
    assert.deepEqual(accounts(result.report), report({ delivered: 20, requests: 0, attempts: 0 }));
    assert.deepEqual(accounts(await first), report({ delivered: 20 }));
  });

  for (const [name, fault, ambiguous] of [
    ["F3: after a 503", { status: 503, first: 1 }, 0],
    ["F4: after a 500", { status: 500, first: 1 }, 0],
    // Deno's own client sends again after a reset, and says nothing.
    ["F5: after a reset connection", { reset: true, first: 1 }, process.versions.deno ? undefined : 1],
  ]) {
    test(`${name} all 40 are delivered by the second request, with the same ids`, async (t) => {
      const receiver = await receiverFor(t);
      await receiver.fault(fault);
      const langfuse = new Langfuse(receiver.options);
      const ids = record(langfuse, 40);
      const result = await flushed(langfuse, receiver);
      assert.deepEqual([result.observations, result.rows, result.requests], [40, 40, 2]);
      assert.deepEqual(
        accounts(result.report),
        ambiguous === undefined
          ? report({ delivered: 40 })
          : report({ delivered: 40, requests: 2 - ambiguous, attempts: 2, ambiguous }),
      );
      const requests = await receiver.requests();
      for (const { observationIds } of requests) assert.deepEqual(observationIds.toSorted(), ids.toSorted());
      assert.equal(requests[0].bytes, requests[1].bytes);
      if (ambiguous !== undefined) between(requests[1].atMs - requests[0].atMs, 40, 1000);
    });
  }

  test("F3: clients that fail together do not come back together", async (t) => {
    const receiver = await receiverFor(t);
    /** The time between the first and the last of them. */
    const spread = async () => {
      await receiver.reset();
      const clients = Array.from({ length: 8 }, () => new Langfuse(receiver.options));
      await receiver.fault({ status: 503, first: clients.length });
      const reports = await Promise.all(
        clients.map((langfuse) => {
          record(langfuse, 1);
          return langfuse.flush();
        }),
      );
      assert.ok(reports.every(({ ok, requests }) => ok && requests === 2));
      const delays = new Map();
      for (const { observationIds, atMs } of await receiver.requests()) {
        delays.set(observationIds[0], atMs - (delays.get(observationIds[0]) ?? 0));
      }
      return Math.max(...delays.values()) - Math.min(...delays.values());
    };
    // A process that is stopped for a while comes back to timers that are all due.
    const spreads = [];
    while (spreads.length < 3 && !(spreads.at(-1) > 50)) spreads.push(await spread());
    assert.ok(spreads.at(-1) > 50, `${spreads}`);
  });

  test("F6: Retry-After of a 429 is obeyed, and no longer than that", async (t) => {
    const receiver = await receiverFor(t);
    await receiver.fault({ status: 429, first: 1, retryAfter: "2" });
    const langfuse = new Langfuse(receiver.options);
    record(langfuse, 40);
    const result = await flushed(langfuse, receiver);
    assert.deepEqual([result.observations, result.rows, result.requests], [40, 40, 2]);
    assert.deepEqual(accounts(result.report), report({ delivered: 40, requests: 2, attempts: 2 }));
    const [first, second] = await receiver.requests();
    between(second.atMs - first.atMs, 1990, 3500);
  });

  test("F9: against a server that hangs a flush ends by its deadline, and the next one delivers", async (t) => {
    const receiver = await receiverFor(t);
    await receiver.fault({ hang: true });
    const langfuse = new Langfuse(receiver.options);
    record(langfuse, 40);
    const hung = await flushed(langfuse, receiver, { timeoutMs: 5000 });
    between(hung.milliseconds, 4900, 5500);
    between(hung.report.durationMs, 4900, 5500);
    assert.equal(hung.rows, 0);
    const { requests, attempts } = hung.report;
    assert.deepEqual(
      accounts(hung.report),
      report({ ok: false, retained: 40, requests: 0, attempts, ambiguous: attempts, lastStatus: 0 }),
    );
    assert.equal(hung.requests, attempts);
    assert.equal(requests, 0);
    await receiver.fault({});
    const healed = await flushed(langfuse, receiver);
    assert.deepEqual([healed.report.ok, healed.report.delivered, healed.observations, healed.rows], [true, 40, 40, 40]);
  });

  test("F9: an attempt takes no longer than the client's timeout, and is tried again", async (t) => {
    const receiver = await receiverFor(t);
    await receiver.fault({ hang: true, first: 1 });
    const langfuse = new Langfuse({ ...receiver.options, timeout: 0.5 });
    record(langfuse, 40);
    const result = await flushed(langfuse, receiver);
    assert.deepEqual(accounts(result.report), report({ delivered: 40, attempts: 2, ambiguous: 1 }));
    between(result.milliseconds, 500, 2500);
  });

  test("F10: a burst of 5,000 is delivered by one flush in few requests", async (t) => {
    const receiver = await receiverFor(t);
    await receiver.fault({ delayMs: 20 });
    const langfuse = new Langfuse(receiver.options);
    const ids = record(langfuse, 5000);
    const result = await flushed(langfuse, receiver);
    assert.equal(new Set(ids).size, 5000);
    assert.deepEqual([result.observations, result.rows], [5000, 5000]);
    assert.ok(result.requests <= 50, `${result.requests} requests`);
    assert.deepEqual(
      accounts(result.report),
      report({ delivered: 5000, requests: result.requests, attempts: result.requests }),
    );
  });

  test("F12: a second flush covers what came after the first, and what the first has in flight", async (t) => {
    const receiver = await receiverFor(t);
    await receiver.fault({ delayMs: 1000 });
    const langfuse = new Langfuse(receiver.options);
    record(langfuse, 10);
    const first = langfuse.flush();
    await sleep(20);
    record(langfuse, 10);
    const second = langfuse.flush();
    assert.notEqual(first, second);
    assert.deepEqual(accounts(await first), report({ delivered: 10 }));
    const { durationMs, ...both } = await second;
    assert.deepEqual([both.ok, both.delivered, both.retained], [true, 20, 0]);
    between(durationMs, 1000, 2500);
    const state = await receiver.state();
    assert.deepEqual([state.observations, state.rows, state.requests], [20, 20, 2]);
  });

  test("records that come during a flush do not hold it open", async (t) => {
    const receiver = await receiverFor(t);
    await receiver.fault({ delayMs: 200 });
    const langfuse = new Langfuse(receiver.options);
    record(langfuse, 1);
    const first = langfuse.flush();
    record(langfuse, 1);
    assert.deepEqual(accounts(await first), report({ delivered: 1 }));
    assert.equal((await receiver.state()).rows, 1);
    assert.equal((await langfuse.flush()).delivered, 1);
  });

  test("a dead server: nothing is lost, nothing is thrown, the deadline holds", async () => {
    const langfuse = new Langfuse({ ...KEYS, baseUrl: await nobodyListens() });
    record(langfuse, 40);
    const start = performance.now();
    const dead = await langfuse.flush({ timeoutMs: 1000 });
    between(performance.now() - start, 0, 1500);
    assert.deepEqual([dead.ok, dead.delivered, dead.retained, dead.requests], [false, 0, 40, 0]);
    assert.ok(dead.attempts > 1, `${dead.attempts} attempts`);
  });

  test("a wrong secret: one request, retained, and none for a while", async (t) => {
    const receiver = await receiverFor(t);
    const langfuse = new Langfuse({ ...receiver.options, secretKey: "sk-lf-wrong" });
    record(langfuse, 40);
    const result = await flushed(langfuse, receiver);
    assert.deepEqual(accounts(result.report), report({ ok: false, retained: 40, lastStatus: 401 }));
    assert.deepEqual([result.rows, result.requests], [0, 1]);
    between(result.milliseconds, 0, 1000);
    record(langfuse, 1);
    const again = await flushed(langfuse, receiver);
    assert.deepEqual(accounts(again.report), report({ ok: false, retained: 41, requests: 0, attempts: 0, lastStatus: 401 }));
    assert.equal(again.requests, 1);
    between(again.milliseconds, 0, 1000);
  });

  for (const status of [301, 302, 303, 307, 308]) {
    test(`a redirect by ${status} is not taken for a delivery, and not followed`, async (t) => {
      const server = await httpServerFor(t, (request, response) => {
        if (request.url === "/elsewhere") return response.end("{}");
        response.writeHead(status, { location: "/elsewhere" }).end();
      });
      const langfuse = new Langfuse({ ...KEYS, baseUrl: server.url });
      record(langfuse, 3);
      assert.deepEqual(accounts(await langfuse.flush()), report({ ok: false, retained: 3, lastStatus: status }));
      assert.equal(server.counts.requests, 1);
    });
  }

  test("a server that answers and never ends its answer is left at the deadline", async (t) => {
    const server = await httpServerFor(t, (_, response) => response.writeHead(503).write("busy"));
    const langfuse = new Langfuse({ ...KEYS, baseUrl: server.url });
    record(langfuse, 3);
    const start = performance.now();
    const { ok, retained } = await langfuse.flush({ timeoutMs: 500 });
    assert.deepEqual([ok, retained], [false, 3]);
    between(performance.now() - start, 450, 1000);
  });

  test("what the server refuses is reported with its id and the server's words, the rest is delivered", async (t) => {
    const receiver = await receiverFor(t);
    await receiver.fault({ rejectNames: ["bad"] });
    const langfuse = new Langfuse(receiver.options);
    record(langfuse, 20);
    const bad = langfuse.startObservation("bad");
    bad.end();
    record(langfuse, 20);
    const result = await flushed(langfuse, receiver);
    assert.deepEqual([result.report.ok, result.report.delivered, result.report.retained, result.rows], [false, 40, 0, 40]);
    assert.deepEqual(result.report.rejected.map(({ id, status }) => [id, status]), [[bad.id, 400]]);
    assert.match(result.report.rejected[0].message, /bad/);
    assert.equal((await receiver.state()).duplicates, 0);
  });
});

describe("time", () => {
  test("the default deadline is 25 seconds", async (t) => {
    const receiver = await receiverFor(t);
    await receiver.fault({ hang: true });
    const langfuse = new Langfuse(receiver.options);
    record(langfuse, 40);
    const start = Date.now();
    t.mock.timers.enable({ apis: ["setTimeout", "Date"], now: start });
    let hung;
    langfuse.flush().then((report) => (hung = report));
    while (!hung) {
      t.mock.timers.tick(100);
      await new Promise((resolve) => setImmediate(resolve));
    }
    between(Date.now() - start, 24_900, 25_100);
    between(hung.durationMs, 24_900, 25_100);
    t.mock.timers.reset();
    assert.deepEqual([hung.ok, hung.delivered, hung.retained, hung.requests], [false, 0, 40, 0]);
    between(hung.attempts, 2, 4);
  });
});

describe("the report", () => {
  test("has exactly the properties and types of its declaration", async (t) => {
    const declared = /export interface FlushReport \{([^]*?)\n\}/.exec(await readFile(join(ROOT, "src/wasm/types.ts"), "utf8"))[1];
    const types = Object.fromEntries([...declared.matchAll(/^ {2}(\w+): (.+);$/gm)].map(([, name, type]) => [name, type]));
    assert.equal(Object.keys(types).length, 12);
    const is = {
      boolean: (value) => typeof value === "boolean",
      number: (value) => Number.isInteger(value) && value >= 0,
      "Record<string, number>": (value) => Object.getPrototypeOf(value) === Object.prototype && Object.values(value).every(is.number),
      "{ id: string; status: number; message: string }[]": (value) =>
        Array.isArray(value) &&
        value.every((one) => /^[0-9a-f]{16}$/.test(one.id) && is.number(one.status) && typeof one.message === "string" && Object.keys(one).length === 3),
    };
    const receiver = await receiverFor(t);
    await receiver.fault({ rejectNames: ["bad"] });
    const langfuse = new Langfuse(receiver.options);
    const idle = await langfuse.flush();
    langfuse.startObservation("bad").end();
    record(langfuse, 3);
    const busy = await langfuse.flush();
    const disabled = await new Langfuse({ enabled: false }).flush();
    assert.equal(busy.rejected.length, 1);
    for (const report of [idle, busy, disabled]) {
      assert.deepEqual(Object.keys(report), Object.keys(types));
      for (const [name, type] of Object.entries(types)) assert.ok(is[type](report[name]), `${name}: ${report[name]}`);
      assert.equal(report.ok, report.rejected.length + report.retained + report.dropped === 0);
      assert.ok(report.requests <= report.attempts);
      assert.deepEqual(JSON.parse(JSON.stringify(report)), report);
    }
  });

  test("a flush without anything to do sends nothing and is ok", async (t) => {
    const receiver = await receiverFor(t);
    const result = await flushed(new Langfuse(receiver.options), receiver);
    assert.deepEqual(accounts(result.report), report({ requests: 0, attempts: 0 }));
    assert.equal(result.requests, 0);
  });

  test("100 observations are one request, 513 are two", async (t) => {
    const receiver = await receiverFor(t);
    const langfuse = new Langfuse(receiver.options);
    for (const [count, requests] of [[100, 1], [512, 1], [513, 2]]) {
      record(langfuse, count);
      assert.deepEqual(accounts(await langfuse.flush()), report({ delivered: count, requests, attempts: requests }));
    }
    assert.equal((await receiver.state()).requests, 4);
  });

  test("no request is larger than 3.5 MB", async (t) => {
    const receiver = await receiverFor(t);
    const langfuse = new Langfuse(receiver.options);
    for (let n = 0; n < 30; n++) langfuse.startObservation("large", { input: "x".repeat(300_000) }).end();
    const { delivered, bytes } = await langfuse.flush();
    const sizes = (await receiver.requests()).map((request) => request.bytes);
    assert.deepEqual([delivered, sizes.length], [30, 3]);
    assert.ok(Math.max(...sizes) <= 3_500_000, `${sizes}`);
    assert.equal(bytes, sizes.reduce((a, b) => a + b));
  });
});

describe("never rejects", () => {
  test("whatever is given as options", async (t) => {
    const receiver = await receiverFor(t);
    const langfuse = new Langfuse(receiver.options);
    const hostile = {
      get timeoutMs() {
        throw new Error("boom");
      },
    };
    for (const options of [undefined, null, 5, "soon", {}, [], hostile, ...["1", NaN, -1, Infinity, 1e300].map((timeoutMs) => ({ timeoutMs }))]) {
      record(langfuse, 1);
      assert.equal((await langfuse.flush(options)).delivered, 1);
    }
    for (const timeoutMs of [0, 1]) {
      record(langfuse, 1);
      assert.deepEqual(accounts(await langfuse.flush({ timeoutMs })).ok, false);
      assert.equal((await langfuse.flush()).delivered, 1);
    }
  });

  test("whatever a fetch does that somebody has wrapped", async (t) => {
    const source = `
      import assert from "node:assert/strict";
      import { Langfuse } from "langfuse-edge";
      const reject = (reason) => () => Promise.reject(reason);
      const response = (more) => () => Promise.resolve({ status: 503, headers: new Headers(), text: async () => "", ...more });
      const fetches = {
        "is absent": undefined,
        "throws": () => { throw new Error("boom"); },
        "throws nothing": () => { throw undefined; },
        "rejects": reject(new Error("Network connection lost.")),
        "rejects with nothing": reject(undefined),
        "never settles and ignores the signal": () => new Promise(() => {}),
        "has a text that rejects": response({ text: reject(new Error("boom")) }),
        "has a text that throws": response({ text: () => { throw new Error("boom"); } }),
        "has a text that is none": response({ text: async () => 5 }),
        "has a text that never settles": response({ text: () => new Promise(() => {}) }),
      };
      for (const [what, wrapped] of Object.entries(fetches)) {
        globalThis.fetch = wrapped;
        const langfuse = new Langfuse({ publicKey: "pk", secretKey: "sk", baseUrl: "http://127.0.0.1:9" });
        langfuse.startObservation("one").end();
        const start = performance.now();
        const report = await langfuse.flush({ timeoutMs: 200 });
        assert.deepEqual([report.ok, report.delivered, report.retained], [false, 0, 1], what);
        assert.ok(performance.now() - start < 700, what);
      }
      console.log("all of them");`;
    const { code, output } = await startScript(t, source, { LANGFUSE_LOG_LEVEL: "ERROR" }).done;
    assert.deepEqual([code, output], [0, "all of them"]);
  });
});

describe("nothing is left behind", { concurrency: 4 }, () => {
  const RECORD = `
    import { Langfuse } from "langfuse-edge";
    const langfuse = new Langfuse({ publicKey: "${KEYS.publicKey}", secretKey: "${KEYS.secretKey}", baseUrl: process.env.URL });
    langfuse.startObservation("one").end();`;

  /** Runs `source`, and says how long the process lives on after its line "done". */
  async function livesOn(t, source, receiver) {
    const script = startScript(t, source, { URL: receiver.url, LANGFUSE_LOG_LEVEL: "ERROR" });
    await script.line(/^done$/);
    const done = performance.now();
    const { code, output } = await script.done;
    assert.deepEqual([code, output], [0, "done"]);
    return performance.now() - done;
  }

  test("a process that has flushed against a hanging server ends by itself, after the flush at its end", async (t) => {
    const receiver = await receiverFor(t);
    await receiver.fault({ hang: true });
    const source = `${RECORD}
      const { durationMs } = await langfuse.flush({ timeoutMs: 500 });
      if (durationMs > 900) throw new Error(String(durationMs));
      console.log("done");`;
    between(await livesOn(t, source, receiver), 4500, 7000);
    assert.equal((await receiver.state()).requests, 2);
  });

  test("a process that has flushed well ends by itself", async (t) => {
    const receiver = await receiverFor(t);
    const source = `${RECORD}
      await langfuse.flush();
      console.log("done");`;
    between(await livesOn(t, source, receiver), 0, 1000);
    assert.equal((await receiver.state()).rows, 1);
  });

  test("a process that waits for nobody still delivers what it began to flush", async (t) => {
    const receiver = await receiverFor(t);
    await receiver.fault({ delayMs: 200 });
    between(await livesOn(t, `${RECORD} langfuse.flush(); console.log("done");`, receiver), 150, 1500);
    assert.equal((await receiver.state()).rows, 1);
  });

  test("answers are read to their end, so that 50 flushes share a connection", async (t) => {
    const server = await httpServerFor(t, (_, response) => {
      const refused = server.counts.requests % 2 === 0;
      response.writeHead(refused ? 400 : 200).end("x".repeat(300_000));
    });
    const langfuse = new Langfuse({ ...KEYS, baseUrl: server.url });
    for (let n = 0; n < 50; n++) {
      record(langfuse, 1);
      const { delivered, rejected } = await langfuse.flush();
      assert.equal(delivered + rejected.length, 1);
      for (const { message } of rejected) assert.equal(message, "x".repeat(300));
    }
    assert.equal(server.counts.requests, 50);
    assert.ok(server.counts.connections <= 2, `${server.counts.connections} connections`);
    assert.ok((await server.open()) <= 2);
  });

  test("a client that is freed during a flush does no harm", async (t) => {
    const receiver = await receiverFor(t);
    await receiver.fault({ delayMs: 200 });
    const langfuse = new Langfuse(receiver.options);
    record(langfuse, 2);
    const late = langfuse.startObservation("late");
    const first = langfuse.flush();
    const second = langfuse.flush();
    langfuse.free();
    late.end();
    assert.deepEqual(accounts(await first), report({ delivered: 2 }));
    assert.equal((await second).delivered, 2);
    assert.equal((await receiver.state()).rows, 2);

    const unreachable = new Langfuse({ ...KEYS, baseUrl: await nobodyListens() });
    record(unreachable, 2);
    const failing = unreachable.flush({ timeoutMs: 300 });
    unreachable.free();
    assert.equal((await failing).retained, 2);

    const another = new Langfuse(receiver.options);
    record(another, 1);
    assert.equal((await another.flush()).delivered, 1);
  });
});
