// Nothing grows with the number of observations, ended or not.
import assert from "node:assert/strict";
import { test } from "node:test";

import { httpServerFor } from "./support/http-server.mjs";
import { startScript } from "./support/program.mjs";
import { KEYS } from "./support/receiver.mjs";

/**
 * A client keeps at most 10,000 open observations, here of some 300 bytes each, and 10 MB of records; it is flushed every 5,000
 * observations. Half of the observations make both as large as they get; so the other half must fit in where those were.
 */
const PROGRAM = `
  const memories = [];
  const keep = (instance) => {
    memories.push(Object.values(instance.exports).find((value) => value instanceof WebAssembly.Memory));
    return instance;
  };
  const { instantiate, Instance } = WebAssembly;
  WebAssembly.Instance = new Proxy(Instance, { construct: (target, args) => keep(new target(...args)) });
  WebAssembly.instantiate = async (...args) => {
    const result = await instantiate(...args);
    keep(result.instance ?? result);
    return result;
  };
`;

const OBSERVATIONS = 200_000;

const leavesMemoryAsItWas = (host) => async (t) => {
  const { url } = await httpServerFor(t, (_, response) => response.writeHead(200).end());
  const script = startScript(
    t,
    `${PROGRAM}${host}
    const { Langfuse, observe, setLangfuse, startObservation } = await import("langfuse-edge");
    const langfuse = new Langfuse(${JSON.stringify({ ...KEYS, baseUrl: url })});
    setLangfuse(langfuse);
    const work = observe((n) => ({ n }), { name: "observed" });
    const left = observe(function* (n) { yield n; }, { name: "left in the middle" });
    let unfinished = 0;
    async function half() {
      for (let n = 1; n <= ${OBSERVATIONS / 2}; n++) {
        if (n % 6 === 0) unfinished++, startObservation("left", { input: { n } });
        else if (n % 6 === 3) unfinished++, left(n).next();
        else if (n % 2) work(n);
        else startObservation("ended", { input: { n } }).end();
        if (n % 5000 === 0) {
          const report = await langfuse.flush();
          if (!report.ok) throw new Error(JSON.stringify(report));
          // Finalizers run between turns.
          gc();
          await new Promise(setImmediate);
        }
      }
      gc();
      await new Promise(setImmediate);
      gc();
      const { heapUsed, external } = process.memoryUsage();
      return { heap: heapUsed, external, wasm: memories.reduce((sum, memory) => sum + memory.buffer.byteLength, 0) };
    }
    const before = await half();
    const after = await half();
    await langfuse.flush();
    const { recorded, queued, delivered, dropped } = langfuse.stats();
    const cpu = process.cpuUsage();
    console.log("MEASURED", JSON.stringify({ before, after, unfinished, recorded, queued, delivered, dropped, seconds: (cpu.user + cpu.system) / 1e6 }))`,
    {},
    { gc: true },
  );
  const [, json] = await script.line(/^MEASURED (.*)$/);
  const { before, after, unfinished, recorded, queued, delivered, dropped, seconds } = JSON.parse(json);
  t.diagnostic(json);
  const MB = 1_000_000;
  assert.ok(unfinished >= OBSERVATIONS / 3 - 2, `${unfinished}`);
  assert.ok(recorded >= OBSERVATIONS - 10_000 && recorded <= OBSERVATIONS, `${recorded} recorded`);
  assert.deepEqual([recorded - queued - delivered, dropped], [0, 0]);
  assert.ok(after.wasm <= before.wasm + MB, `wasm memory: ${before.wasm}, then ${after.wasm}`);
  assert.ok(after.wasm <= 32 * MB, `wasm memory: ${after.wasm}`);
  assert.ok(after.heap <= before.heap + 2 * MB, `JavaScript heap: ${before.heap}, then ${after.heap}`);
  assert.ok(after.heap <= 40 * MB, `JavaScript heap: ${after.heap}`);
  assert.ok(seconds < 30, `${seconds} s of processor time`);
};

test(`${OBSERVATIONS} observations, a third of which nobody ends, leave the memory as it was`, leavesMemoryAsItWas(""));

// Workers with a compatibility date before 2025-05-05 have none.
const WITHOUT_REGISTRY = `
  const { FinalizationRegistry } = globalThis;
  new Headers(); // That of Node.js has one.
  delete globalThis.FinalizationRegistry;
`;
test("so they do on hosts without FinalizationRegistry", leavesMemoryAsItWas(WITHOUT_REGISTRY));
