// The client in workerd, where every step of a flush has to run in the request that called it, and requests die.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { supportedCompatibilityDate as NEWEST } from "miniflare";

import { receiverFor } from "./support/receiver.mjs";
import { until } from "./support/until.mjs";
import { bundle, isComplaint, workersFor } from "./support/workerd.mjs";

const FOLDER = new URL("workerd/", import.meta.url);
const [worker, gateway] = await Promise.all([
  bundle(new URL("worker.mjs", FOLDER), ["./options.mjs"]),
  bundle(new URL("gateway.mjs", FOLDER)),
]);

/** A client's lease lasts for its timeout and 2 s: with this timeout, records of a dead request are free after 3 s. */
const SHORT = { timeout: 1 };
const LEASE_MS = 3000;

const sorted = (ids) => ids.toSorted();
const between = (value, low, high) => assert.ok(low <= value && value <= high, `${value} is not within ${low} and ${high}`);

/** Each of them has a Worker and a receiver of its own. A root and its child are 2 observations. */
const SCENARIOS = {
  "waitUntil(flush()) delivers after the response": {
    async run({ call, receiver }) {
      await receiver.fault({ delayMs: 2000 });
      const { ids } = await call({ flush: "waitUntil", count: 2 });
      assert.equal((await receiver.state()).rows, 0, "the response came first");
      await until(async () => (await receiver.state()).rows === 4);
      const [request, ...more] = await receiver.requests();
      assert.deepEqual([sorted(request.observationIds), more], [sorted(ids), []]);
      const rows = await receiver.rows();
      for (const child of rows.filter(({ type }) => type === "TOOL")) {
        const root = rows.find(({ id }) => id === child.parentObservationId);
        assert.deepEqual([root.type, root.traceId], ["SPAN", child.traceId]);
      }
      await until(async () => (await call.state()).reports.length === 1);
      const [{ ok, delivered, requests }] = (await call.state()).reports;
      assert.deepEqual([ok, delivered, requests], [true, 4, 1]);
    },
  },

  "overlapping flushes of two requests each get a truthful report": {
    async run({ call, receiver }) {
      await receiver.fault({ delayMs: 1500 });
      const first = call({ name: "a", flush: "await", count: 2 });
      await until(async () => (await receiver.state()).requests === 1);
      const second = call({ name: "b", flush: "await" });
      const [a, b] = (await Promise.all([first, second])).map(({ report }) => report);
      assert.deepEqual([a.ok, a.delivered, a.requests, a.attempts], [true, 4, 1, 1]);
      assert.deepEqual([b.ok, b.delivered, b.requests, b.attempts], [true, 6, 1, 1]);
      const state = await receiver.state();
      assert.deepEqual([state.observations, state.rows, state.requests], [6, 6, 2]);
    },
  },

  "a request whose flush fails does not fail one that overlaps": {
    async run({ call, receiver }) {
      await receiver.fault({ status: 503, first: 1 });
      const reports = await Promise.all(["a", "b", "c"].map((name) => call({ name, flush: "await" })));
      assert.ok(reports.every(({ report }) => report.ok), JSON.stringify(reports));
      const state = await receiver.state();
      assert.deepEqual([state.observations, state.rows], [6, 6]);
    },
  },

  "records of a request that was cancelled while the server hung are delivered by another's waitUntil(flush()) alone": {
    client: SHORT,
    async run({ call, receiver }) {
      await receiver.fault({ hang: true, first: 1 });
      assert.equal(await call.cancelled({ name: "a", flush: "await" }), "cancelled");
      const start = performance.now();
      await call({ name: "b", flush: "waitUntil", count: 0 });
      await until(async () => (await receiver.state()).rows === 2, 10_000);
      between(performance.now() - start, LEASE_MS - 1000, LEASE_MS + 2000);
      await until(async () => (await call.state()).reports.length === 1);
      const { finished, reports } = await call.state();
      assert.deepEqual(finished, ["b"], "the first request really ended where it was");
      assert.deepEqual([reports[0].name, reports[0].ok, reports[0].delivered, reports[0].retained], ["b", true, 2, 0]);
      const [first, second, ...more] = await receiver.requests();
      assert.deepEqual([sorted(second.observationIds), second.bytes, more], [sorted(first.observationIds), first.bytes, []]);
    },
  },

  "what a cancelled request had delivered without knowing comes again with the same ids and start times": {
    client: { timeout: 2 },
    async run({ call, receiver }) {
      await receiver.fault({ delayMs: 1500 });
      assert.equal(await call.cancelled({ name: "a", flush: "await" }), "cancelled");
      const { ids, report } = await call({ name: "b", flush: "await" });
      assert.deepEqual([report.ok, report.delivered, report.retained], [true, 4, 0]);
      const state = await receiver.state();
      assert.deepEqual([state.observations, state.rows, state.duplicates, state.duplicatesWithOtherStart], [4, 6, 2, 0]);
      assert.equal((await receiver.rows()).filter(({ id }) => ids.includes(id)).length, 2, "b's own came once");
    },
  },

  "records of a request that never flushed are delivered by the next one that does": {
    async run({ call, receiver }) {
      const forgotten = await call({ name: "a" });
      assert.equal((await receiver.state()).requests, 0);
      const { ids, report } = await call({ name: "b", flush: "await" });
      assert.deepEqual([report.ok, report.delivered, report.requests], [true, 4, 1]);
      const [request] = await receiver.requests();
      assert.deepEqual(sorted(request.observationIds), sorted([...forgotten.ids, ...ids]));
    },
  },

  "records of a request that did not wait for its flush are delivered by the next one": {
    client: SHORT,
    async run({ call, receiver }) {
      await receiver.fault({ delayMs: 300 });
      const forgotten = await call({ name: "a", flush: "forget" });
      const start = performance.now();
      const { ids, report } = await call({ name: "b", flush: "await" });
      between(performance.now() - start, 0, LEASE_MS + 2000);
      assert.deepEqual([report.ok, report.delivered, report.retained], [true, 4, 0]);
      const arrived = new Set((await receiver.rows()).map(({ id }) => id));
      assert.deepEqual(sorted([...arrived]), sorted([...forgotten.ids, ...ids]));
      assert.equal((await receiver.state()).duplicatesWithOtherStart, 0);
    },
  },

  "a flush in a handler ends by its deadline although another request's flush has died": {
    client: SHORT,
    async run({ call, receiver }) {
      await receiver.fault({ hang: true });
      assert.equal(await call.cancelled({ name: "a", flush: "await" }), "cancelled");
      const start = performance.now();
      const { report } = await call({ name: "b", flush: "await", timeoutMs: 1000 });
      between(performance.now() - start, 900, 2000);
      assert.deepEqual([report.ok, report.delivered, report.retained], [false, 0, 4]);
      await receiver.fault({});
      const healed = await call({ name: "c", flush: "await" });
      assert.deepEqual([healed.report.ok, healed.report.delivered], [true, 6]);
      const state = await receiver.state();
      assert.deepEqual([state.observations, state.rows], [6, 6]);
    },
  },

  "F5: a connection that the server resets is tried again": {
    async run({ call, receiver }) {
      await receiver.fault({ reset: true, first: 1 });
      const { ids, report } = await call({ flush: "await", count: 20 });
      assert.deepEqual([report.ok, report.delivered, report.attempts, report.requests, report.ambiguous], [true, 40, 2, 1, 1]);
      const [first, second, ...more] = await receiver.requests();
      assert.deepEqual([first.status, second.status, more], ["reset", 200, []]);
      for (const { observationIds } of [first, second]) assert.deepEqual(sorted(observationIds), sorted(ids));
      between(second.atMs - first.atMs, 40, 1500);
      assert.equal((await receiver.state()).rows, 40);
    },
  },

  "what is recorded at module scope is delivered by the first request, as a flush at module scope reports": {
    recordsAtStartup: true,
    async run({ call, receiver }) {
      const [atStartup] = (await call.state()).reports;
      assert.deepEqual([atStartup.name, atStartup.ok, atStartup.retained, atStartup.dropped], ["startup", false, 6, 0]);
      const { ids, report } = await call({ flush: "await" });
      assert.deepEqual([report.ok, report.delivered, report.requests], [true, 8, 1]);
      const { startup } = await call.state();
      const all = [...startup, ...ids];
      assert.equal(new Set(all).size, 8);
      for (const id of all) assert.match(id, /^(?!0{16})[0-9a-f]{16}$/);
      const rows = await receiver.rows();
      assert.deepEqual(sorted(rows.map(({ id }) => id)), sorted(all));
      assert.equal(new Set(rows.map(({ traceId }) => traceId)).size, 4);
      for (const { traceId } of rows) assert.match(traceId, /^(?!0{32})[0-9a-f]{32}$/);
    },
  },

  "30 requests at a time share the client, and everything is delivered once": {
    async run({ call, receiver }) {
      await receiver.fault({ delayMs: 50 });
      const names = Array.from({ length: 30 }, (_, n) => `request ${n}`);
      const answers = await Promise.all(names.map((name) => call({ name, count: 3, flush: "waitUntil" })));
      await until(async () => (await call.state()).reports.length === 30);
      const { reports } = await call.state();
      assert.ok(reports.every(({ ok, delivered, retained }) => ok && delivered >= 6 && retained === 0), JSON.stringify(reports));
      const state = await receiver.state();
      assert.deepEqual([state.observations, state.rows, state.duplicates], [180, 180, 0]);
      const arrived = (await receiver.rows()).map(({ id }) => id);
      assert.deepEqual(sorted(arrived), sorted(answers.flatMap(({ ids }) => ids)));
    },
  },

  "a request that is terminated in the middle leaves the client usable": {
    client: SHORT,
    needsProcess: true,
    async run({ call, receiver }) {
      await receiver.fault({ delayMs: 100 });
      for (const terminated of ["after the flush began", "in fetch", "in Date.now"]) {
        await receiver.reset();
        await assert.rejects(call({ name: "a", terminated }), terminated);
        const { report } = await call({ name: "b", flush: "await" });
        assert.deepEqual([report.ok, report.delivered, report.retained], [true, 4, 0], terminated);
        const state = await receiver.state();
        assert.deepEqual([state.observations, state.duplicatesWithOtherStart], [4, 0], terminated);
      }
      assert.deepEqual((await call.state()).finished, ["b", "b", "b"]);
    },
  },

  "a trap in one request costs what was not delivered, and the flushes of both requests tell it": {
    client: SHORT,
    async run({ call, receiver }) {
      await receiver.fault({ delayMs: 500 });
      const first = call({ name: "a", flush: "await", count: 2 });
      await until(async () => (await receiver.state()).requests === 1);
      const second = await call({ name: "b", flush: "await", trap: true });
      for (const [{ report }, delivered] of [[second, 2], [await first, 0]]) {
        assert.deepEqual([report.ok, report.delivered, report.dropReasons], [false, delivered, { state_lost: 4 }]);
      }
      const { report } = await call({ name: "c", flush: "await" });
      assert.deepEqual([report.ok, report.delivered], [true, 2]);
      assert.equal((await call.state()).instances, 2);
    },
  },

  "requests that are terminated until the stack in wasm memory is used up": {
    needsProcess: true,
    async run({ call }) {
      let [recorded, settled, n] = [0, 0, 0];
      for (; (await call.state()).instances === 1; n++) {
        assert.ok(n < 100, "the stack is never used up");
        await assert.rejects(call({ name: "a", count: 0, terminated: "below 100 wasm frames" }));
        const { report } = await call({ name: "b", count: 3, flush: "await" });
        recorded += 6;
        settled += report.delivered + report.dropped;
        assert.equal(report.retained, 0);
      }
      assert.ok(n > 1, "more than one request was needed");
      assert.ok(settled >= recorded, `${settled} of ${recorded}`);
      const { report } = await call({ name: "c", flush: "await" });
      assert.deepEqual([report.ok, report.delivered], [true, 2]);
    },
  },

  "steps nest by explicit parents, and by themselves where process leads to AsyncLocalStorage": {
    async run({ call, receiver, hasProcess }) {
      await call.steps();
      const rows = Object.fromEntries((await receiver.rows()).map((row) => [row.name, row]));
      assert.equal(rows.explicit.parentObservationId, rows.root.id);
      assert.equal(rows.implicit.parentObservationId, hasProcess ? rows.root.id : null);
    },
  },
};

describe("in workerd", { concurrency: 4 }, () => {
  for (const { compatibilityDate, compatibilityFlags, hasProcess } of [
    { compatibilityDate: NEWEST, compatibilityFlags: [], hasProcess: false },
    { compatibilityDate: NEWEST, compatibilityFlags: ["nodejs_compat"], hasProcess: true },
    { compatibilityDate: "2024-09-01", compatibilityFlags: [], hasProcess: false },
    { compatibilityDate: "2024-09-01", compatibilityFlags: ["nodejs_compat"], hasProcess: false },
  ]) {
    const what = [compatibilityDate, ...compatibilityFlags].join(" with ");
    test(what, { concurrency: 16 }, async (t) => {
      const scenarios = await Promise.all(
        Object.entries(SCENARIOS)
          .filter(([, { needsProcess }]) => hasProcess || !needsProcess)
          .map(async ([name, scenario], index) => ({
          ...scenario,
          name,
          worker: `worker${index}`,
          receiver: await receiverFor(t),
        })),
      );
      const options = ({ receiver, client, recordsAtStartup }) => ({
        type: "ESModule",
        path: "options.mjs",
        contents: `export default ${JSON.stringify({ client: { ...receiver.options, ...client }, recordsAtStartup })}`,
      });
      const names = scenarios.map(({ worker }) => worker);
      const { url, lines } = await workersFor(t, { compatibilityDate, compatibilityFlags }, [
        { name: "gateway", modules: gateway, serviceBindings: Object.fromEntries(names.map((name) => [name, name])) },
        ...scenarios.map((scenario) => ({ name: scenario.worker, modules: [...worker, options(scenario)] })),
      ]);

      await Promise.all(
        scenarios.map(({ name, worker, receiver, run }) =>
          t.test(name, () => run({ call: caller(new URL(`${worker}/`, url), receiver), receiver, hasProcess })),
        ),
      );
      assert.deepEqual(lines.filter(isComplaint), []);
    });
  }
});

test("a request that waits for ever is one that workerd complains about", async (t) => {
  const receiver = await receiverFor(t);
  const { url, lines } = await workersFor(t, { compatibilityDate: NEWEST }, [
    { name: "worker", modules: [...worker, { type: "ESModule", path: "options.mjs", contents: `export default ${JSON.stringify({ client: receiver.options })}` }] },
  ]);
  const { status } = await fetch(new URL("hang", url));
  assert.equal(status, 500);
  await until(() => lines.some(isComplaint));
});

/** Sends requests to one Worker. */
function caller(url, receiver) {
  const get = async (path, query) => {
    const signal = AbortSignal.timeout(20_000);
    const response = await fetch(new URL(`${path}?${new URLSearchParams(query)}`, url), { signal });
    const text = await response.text();
    assert.equal(response.status, 200, text);
    return text;
  };
  const call = async (query) => JSON.parse(await get("", query));
  call.state = async () => JSON.parse(await get("state"));
  call.steps = () => get("steps");
  call.cancelled = (query) => get("", { ...query, cancelWhen: `${receiver.url}/dev/state` });
  return call;
}
