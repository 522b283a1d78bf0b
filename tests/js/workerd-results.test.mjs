// Observed handlers in workerd: its streams and responses are its own, and many requests share an isolate.
import assert from "node:assert/strict";
import { test } from "node:test";

import { supportedCompatibilityDate as NEWEST } from "miniflare";

import { COMPLETE, endOf, failedWith, STOPPED } from "./support/observed.mjs";
import { httpServerFor } from "./support/http-server.mjs";
import { receiverFor } from "./support/receiver.mjs";
import { until } from "./support/until.mjs";
import { bundle, isComplaint, workersFor } from "./support/workerd.mjs";

const FOLDER = new URL("workerd/", import.meta.url);
const [worker, reader] = await Promise.all([
  bundle(new URL("results.mjs", FOLDER), ["./options.mjs"]),
  bundle(new URL("reader.mjs", FOLDER)),
]);

for (const { compatibilityDate, compatibilityFlags, hasContext, hasFinalizers } of [
  { compatibilityDate: NEWEST, compatibilityFlags: [], hasContext: false, hasFinalizers: true },
  { compatibilityDate: NEWEST, compatibilityFlags: ["nodejs_compat"], hasContext: true, hasFinalizers: true },
  { compatibilityDate: "2024-09-01", compatibilityFlags: [], hasContext: false, hasFinalizers: false },
]) {
  test(`observed handlers in workerd of ${[compatibilityDate, ...compatibilityFlags].join(" with ")}`, async (t) => {
    const receiver = await receiverFor(t);
    const options = { type: "ESModule", path: "options.mjs", contents: `export default ${JSON.stringify({ client: receiver.options })}` };
    const { url, lines } = await workersFor(t, { compatibilityDate, compatibilityFlags }, [
      { name: "reader", modules: reader, serviceBindings: { worker: "worker" } },
      { name: "worker", modules: [...worker, options] },
    ]);
    const call = (what, query = {}) => fetch(new URL(`${what}?${new URLSearchParams(query)}`, url), { signal: AbortSignal.timeout(20_000), redirect: "manual" });
    const textOf = async (what, query) => (await call(what, query)).text();
    /** What has ended, by name. */
    const rows = async () => {
      for (const report of JSON.parse(await textOf("flush"))) assert.ok(report.ok, JSON.stringify(report));
      return Object.fromEntries((await receiver.rows()).map((row) => [row.name, row]));
    };
    const response = (status, body) => JSON.stringify(body === undefined ? { status } : { status, body });

    await t.test("responses with streams arrive whole, and are recorded when they have", async () => {
      const streamed = await call("stream", { count: 5 });
      assert.deepEqual([streamed.status, streamed.headers.get("x-own"), await streamed.text()], [201, "1", "0 1 2 3 4 "]);
      assert.equal(await textOf("bytes", { count: 3 }), "0 1 2 ");
      assert.equal(await textOf("text"), "whole");
      assert.equal(await textOf("through"), "0 1 2 ");
      assert.equal(await textOf("identity"), "0 1 2 ");
      assert.deepEqual([(await call("empty")).status, (await call("redirect")).headers.get("location")], [204, "http://elsewhere.test/"]);
      const row = await rows();
      const outputs = { stream: [201, "0 1 2 3 4 "], bytes: [200, "0 1 2 "], text: [200, "whole"], through: [200, "0 1 2 "], identity: [200, "0 1 2 "], empty: [204], redirect: [302] };
      for (const [name, expected] of Object.entries(outputs)) assert.deepEqual(endOf(row[name]), [...COMPLETE, response(...expected)], name);
      assert.equal(JSON.parse(await textOf("state")).waitedFor, 0);
    });

    await t.test("a response of another server is handed on", async (t) => {
      const upstream = await httpServerFor(t, (_, response) => {
        response.writeHead(203, { "x-upstream": "1" });
        response.write("from ");
        setTimeout(() => response.end("upstream"), 10);
      });
      const given = await call("upstream", { url: upstream.url });
      assert.deepEqual([given.status, given.headers.get("x-upstream"), await given.text()], [203, "1", "from upstream"]);
      assert.deepEqual(endOf((await rows()).upstream), [...COMPLETE, response(203, "from upstream")]);
    });

    await t.test("streams that are consumed in the Worker: with buffers, in two, left early", async () => {
      assert.equal(await textOf("byob"), "0 1 2 ");
      assert.equal(await textOf("tee"), "0 1 2 |0 1 2 ");
      assert.equal(await textOf("left"), "0 ");
      const row = await rows();
      assert.deepEqual([row.byob, row.tee, row.left].map(endOf), [[...COMPLETE, "0 1 2 "], [...COMPLETE, "0 1 2 "], [...STOPPED, "0 "]]);
    });

    await t.test("a stream that breaks midway", async () => {
      // The connection breaks with it, and the next request may find that out.
      await textOf("broken").catch(() => {});
      await until(() => textOf("state").catch(() => {}));
      assert.deepEqual(endOf((await rows()).broken), [...failedWith("broken"), response(200, "a")]);
    });

    await t.test("a stream is not ended before it is, whatever is collected meanwhile", async () => {
      const ways = ["piped", "in two", "cloned", "in another"];
      const streams = [textOf("stream", { name: "slow", count: 300 }), ...ways.map((way) => textOf("stream", { name: way, way, count: 300 }))];
      for (let n = 0; n < 10; n++) await textOf("collect");
      const texts = await Promise.all(streams);
      for (const text of texts) assert.equal(text.split(" ").length, 301);
      const row = await rows();
      assert.deepEqual(endOf(row.slow), [...COMPLETE, response(201, texts[0])]);
      for (const way of ways) assert.deepEqual(endOf(row[way]), [...COMPLETE, texts[0]], way);
    });

    // Nothing of such a request runs any more, not even the stream's own `cancel`.
    for (const how of ["cancel", "abort"]) {
      await t.test(`a client that goes midway, by ${how}: the observation ends with what it has got when the stream is collected`, async () => {
        const name = `gone by ${how}`;
        assert.equal(await textOf("stream", { name, count: 0, how }), "0 ");
        if (!hasFinalizers) {
          assert.equal((await rows())[name], undefined);
          return;
        }
        const row = await until(async () => (await textOf("collect")) && (await rows())[name], 15_000);
        assert.deepEqual([row.level, row.statusMessage], STOPPED);
        assert.match(row.output, /^\{"status":201,"body":"0 /);
        assert.deepEqual(JSON.parse(await textOf("state")).cancelled, ["left: undefined"]);
      });
    }

    await t.test("requests that overlap do not see each other's context", async () => {
      const names = Array.from({ length: 10 }, (_, n) => `request ${n}`);
      const seen = await Promise.all(names.map(async (name, n) => JSON.parse(await textOf("context", { name, waitMs: (n * 7) % 20 }))));
      for (const saw of seen) assert.deepEqual(saw, { before: hasContext, after: hasContext, outside: null });
      const row = await rows();
      for (const name of names) {
        const own = row[name];
        const parentOf = (name) => row[name].parentObservationId;
        assert.equal(parentOf(`explicit below ${name}`), own.id);
        assert.deepEqual([parentOf(`below ${name}`), parentOf(`again below ${name}`)], hasContext ? [own.id, own.id] : [null, null]);
        assert.equal(parentOf(`other's ${name}`), null);
        for (const below of [name, `below ${name}`, `again below ${name}`, `explicit below ${name}`]) {
          assert.equal(row[below].userId ?? null, hasContext ? name : null);
        }
      }
    });

    assert.deepEqual(lines.filter(isComplaint).filter((line) => !/broken/.test(line)), []);
  });
}
