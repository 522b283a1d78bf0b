// Long-lived processes: what is recorded is sent without a flush, and when the process ends by itself or by a signal.
import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import { createRequire } from "node:module";
import { describe, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";

import { Langfuse } from "langfuse-edge";

import { nobodyListens } from "./support/http-server.mjs";
import { startScript } from "./support/program.mjs";
import { receiverFor, variablesFor } from "./support/receiver.mjs";
import { until } from "./support/until.mjs";

const record = (langfuse, count, name = "one") => {
  for (let n = 0; n < count; n++) langfuse.startObservation(name).end();
};
const arrived = (receiver, count) => until(async () => (await receiver.state()).rows === count);

/** The calls of a global function from now on. Deno has some that `t.mock` cannot take for functions. */
function calls(t, name) {
  const original = globalThis[name];
  const calls = [];
  globalThis[name] = (...args) => {
    const result = original(...args);
    calls.push({ args, result });
    return result;
  };
  t.after(() => (globalThis[name] = original));
  return calls;
}

describe("without being asked, a client sends", { concurrency: 4 }, () => {
  test("what has waited for flushInterval: observations, events and scores", async (t) => {
    const receiver = await receiverFor(t);
    const langfuse = new Langfuse({ ...receiver.options, flushInterval: 0.05 });
    record(langfuse, 2);
    await arrived(receiver, 2);
    langfuse.startObservation("event", {}, { asType: "event" });
    await arrived(receiver, 3);
    langfuse.score.create({ name: "good", value: 1, sessionId: "s" });
    await until(async () => (await receiver.scores()).length === 1);
    await until(() => langfuse.stats().delivered === 4);
  });

  test("what has come to flushAt, in full batches whatever the burst", async (t) => {
    const receiver = await receiverFor(t);
    const langfuse = new Langfuse({ ...receiver.options, flushAt: 10, flushInterval: 0 });
    record(langfuse, 9);
    await turn();
    assert.equal(langfuse.stats().leased, 0, "too few");
    record(langfuse, 991);
    assert.equal(langfuse.stats().leased, 0, "not within the call that records");
    await arrived(receiver, 1000);
    assert.equal((await receiver.state()).requests, 2);

    await receiver.fault({ delayMs: 300 });
    for (let n = 0; n < 500; n++) {
      record(langfuse, 1);
      await turn();
    }
    await arrived(receiver, 1500);
    assert.ok((await receiver.state()).requests <= 2 + 3, "while one request is under way, the next batch grows");
  });

  test("at once with exportMode immediate, and after as many records as the variable says", async (t) => {
    const receiver = await receiverFor(t);
    const langfuse = new Langfuse({ ...receiver.options, flushAt: undefined, exportMode: "immediate" });
    record(langfuse, 1);
    await arrived(receiver, 1);
    const env = variablesFor(receiver.url);
    const two = Langfuse.fromEnv({ ...env, LANGFUSE_FLUSH_AT: "2", LANGFUSE_FLUSH_INTERVAL: "0" });
    record(two, 2);
    await arrived(receiver, 3);
    record(Langfuse.fromEnv({ ...env, LANGFUSE_FLUSH_AT: "2" }, { exportMode: "immediate" }), 1);
    await arrived(receiver, 4);
  });

  test("also after an instance was lost, with a word about the loss", async (t) => {
    const receiver = await receiverFor(t);
    const { code, output } = await startScript(
      t,
      `import { spoilMemory } from "./tests/js/support/traps.mjs";
      const { Langfuse } = await import("langfuse-edge");
      const langfuse = new Langfuse(${JSON.stringify({ ...receiver.options, flushAt: 2, flushInterval: 0.05 })});
      const record = (name) => langfuse.startObservation(name).end();
      record("lost");
      spoilMemory();
      record("kept");
      while (langfuse.stats().delivered < 1) await new Promise((resolve) => setTimeout(resolve, 10));
      record("kept"), record("kept");`,
    ).done;
    assert.deepEqual([code, output], [0, "langfuse-edge: flush: 1 delivered, 0 rejected, 0 retained, 1 dropped"]);
    assert.deepEqual((await receiver.rows()).map(({ name }) => name), ["kept", "kept", "kept"]);
  });

  test("what a dropped client has recorded, and lets go of it", async (t) => {
    const receiver = await receiverFor(t);
    const { code, output } = await startScript(
      t,
      `import { Langfuse } from "langfuse-edge";
      let collected = 0;
      const registry = new FinalizationRegistry(() => collected++);
      function drop() {
        const langfuse = new Langfuse(${JSON.stringify({ ...receiver.options, flushInterval: 0.2 })});
        langfuse.startObservation("one").end();
        registry.register(langfuse);
      }
      for (let n = 0; n < 10; n++) drop();
      while (collected < 9) {
        gc();
        await new Promise((resolve) => setTimeout(resolve, 20));
      }`,
      {},
      { gc: true },
    ).done;
    assert.deepEqual([code, output], [0, ""]);
    assert.equal((await receiver.state()).rows, 10);
  });

  test("outside of the request that recorded first", async (t) => {
    const receiver = await receiverFor(t);
    const requests = new AsyncLocalStorage();
    const seen = [];
    const { fetch } = globalThis;
    t.mock.method(globalThis, "fetch", (url, init) => {
      if (url.startsWith(receiver.url) && init) seen.push(requests.getStore());
      return fetch(url, init);
    });
    for (const when of [{ flushAt: 1 }, { flushInterval: 0.05 }]) {
      const langfuse = new Langfuse({ ...receiver.options, ...when });
      requests.run("a request", () => record(langfuse, 1));
      await until(() => langfuse.stats().delivered === 1);
    }
    assert.deepEqual(seen, [undefined, undefined]);
  });
});

test("there is one timer for a client, set by the first record that waits, and a flush clears it", async (t) => {
  const receiver = await receiverFor(t);
  const started = calls(t, "setTimeout");
  const cleared = calls(t, "clearTimeout");
  const isOurs = ({ args: [, delay] }) => delay >= 0.8 * 7777 && delay <= 7777;
  const set = () => started.filter(isOurs).length;
  const langfuse = new Langfuse({ ...receiver.options, flushInterval: 7.777 });
  assert.equal(set(), 0);
  record(langfuse, 50);
  assert.equal(set(), 1);
  const { result: timer } = started.find(isOurs);
  // Of the numbers that are web timers nobody can ask it.
  if (typeof timer === "object") assert.equal(timer.hasRef(), false);
  const flushed = langfuse.flush();
  assert.ok(cleared.some(({ args: [handle] }) => handle === timer));
  await flushed;
  await turn();
  assert.equal(set(), 1, "nothing waits");
  record(langfuse, 1);
  assert.equal(set(), 2);
  await langfuse.shutdown();
  record(langfuse, 1);
  const freed = new Langfuse({ ...receiver.options, flushInterval: 7.777 });
  record(freed, 1);
  assert.equal(set(), 3);
  freed.free();
  record(freed, 1);
  assert.equal(set(), 3, "nothing is recorded any more");
});

test("the intervals of clients that begin together are up to a fifth shorter, each by another part", (t) => {
  const started = calls(t, "setTimeout");
  const clients = Array.from({ length: 30 }, () => new Langfuse({ publicKey: "pk", secretKey: "sk", baseUrl: "http://127.0.0.1:9", flushInterval: 1000 }));
  clients.forEach((langfuse) => record(langfuse, 1));
  const delays = started.map(({ args: [, delay] }) => delay).filter((delay) => delay > 100_000);
  assert.equal(delays.length, clients.length);
  assert.ok(delays.every((delay) => delay >= 800_000 && delay <= 1_000_000), `${delays}`);
  assert.ok(Math.max(...delays) - Math.min(...delays) > 50_000, `${delays}`);
  clients.forEach((langfuse) => langfuse.free());
});

test("a user's flush in the same turn is the only one", async (t) => {
  const receiver = await receiverFor(t);
  const langfuse = new Langfuse({ ...receiver.options, flushAt: 10 });
  record(langfuse, 500);
  const report = await langfuse.flush();
  assert.deepEqual([report.ok, report.delivered, report.requests], [true, 500, 1]);
  assert.equal((await receiver.state()).requests, 1);
});

/** A program with a client of 60 s, so that only the end of the process sends. */
const program = (receiver, rest) => `
  import { createRequire } from "node:module";
  import { flushOnSignals, Langfuse } from "langfuse-edge";
  const options = { ...${JSON.stringify(receiver.options)}, flushInterval: 60 };
  const langfuse = new Langfuse(options);
  langfuse.startObservation("one").end();
  ${rest}`;

describe("a process that has nothing left to do", { concurrency: 4 }, () => {
  test("sends what waits and ends, its timers notwithstanding", async (t) => {
    const receiver = await receiverFor(t);
    const { code, output } = await startScript(t, program(receiver, "")).done;
    assert.deepEqual([code, output], [0, ""]);
    assert.equal((await receiver.state()).rows, 1);
  });

  test("does so for the copies of import and require, and for what is recorded while it does so", async (t) => {
    const receiver = await receiverFor(t);
    const rest = `
      const required = createRequire(import.meta.url)(${JSON.stringify(createRequire(import.meta.url).resolve("langfuse-edge"))});
      if (required.Langfuse === Langfuse) throw new Error("one copy");
      new required.Langfuse(options).startObservation("required").end();
      process.once("beforeExit", () => setTimeout(() => langfuse.startObservation("late").end(), 100));`;
    const { code, output } = await startScript(t, program(receiver, rest)).done;
    assert.deepEqual([code, output], [0, ""]);
    assert.deepEqual((await receiver.rows()).map(({ name }) => name).toSorted(), ["late", "one", "required"]);
  });

  test("tries once when the server is down, for 5 s at most, and says what is lost", async (t) => {
    const receiver = { options: { publicKey: "pk", secretKey: "sk", baseUrl: await nobodyListens() } };
    const start = performance.now();
    const { code, output } = await startScript(t, program(receiver, "")).done;
    const elapsed = performance.now() - start;
    assert.deepEqual([code, output], [0, "langfuse-edge: flush: 0 delivered, 0 rejected, 1 retained, 0 dropped: the server gives no answer"]);
    assert.ok(elapsed < 9000, `${elapsed} ms`);
  });

  test("does not go on by turns when several clients have something for a server that is down", async (t) => {
    const receiver = { options: { publicKey: "pk", secretKey: "sk", baseUrl: await nobodyListens(), flushInterval: 1 } };
    const rest = `
      for (let n = 0; n < 4; n++) setTimeout(() => new Langfuse(options).startObservation("one").end(), 400 * n);
      setTimeout(() => {}, 3000);`;
    const start = performance.now();
    const { code } = await startScript(t, program(receiver, rest)).done;
    const elapsed = performance.now() - start;
    assert.equal(code, 0);
    assert.ok(elapsed < 50_000, `${elapsed} ms`);
  });

  test("keeps its exit code, and after process.exit() sends nothing", async (t) => {
    const receiver = await receiverFor(t);
    assert.equal((await startScript(t, program(receiver, "process.exitCode = 3;")).done).code, 3);
    assert.equal((await startScript(t, program(receiver, "process.exit(4);")).done).code, 4);
    assert.equal((await receiver.state()).rows, 1);
  });

  test("sees no error of what went on in the background", async (t) => {
    const receiver = await receiverFor(t);
    const rest = `
      globalThis.fetch = () => { throw new Error("boom"); };
      const other = new Langfuse({ ...options, flushAt: 1 });
      other.startObservation("one").end();
      process.on("unhandledRejection", (error) => console.log("unhandled", error));`;
    const { code, output } = await startScript(t, program(receiver, rest), { LANGFUSE_LOG_LEVEL: "ERROR" }).done;
    assert.deepEqual([code, output], [0, ""]);
  });
});

describe("flushOnSignals", { concurrency: 4 }, () => {
  const KEEP = `setInterval(() => {}, 1000); console.log("ready");`;

  async function signalled(t, receiver, rest, signals = ["SIGTERM"]) {
    const script = startScript(t, program(receiver, `${rest}; ${KEEP}`));
    await script.line(/^ready$/);
    const start = performance.now();
    for (const [n, signal] of signals.entries()) {
      if (n > 0) await until(async () => (await receiver.state()).requests > 0);
      script.kill(signal);
    }
    return { ...(await script.done), elapsed: performance.now() - start };
  }
  const ending = ({ code, signal, output }) => [code, signal, output];

  for (const signal of ["SIGTERM", "SIGINT"]) {
    test(`${signal}: what waits is sent, and the signal ends the process`, async (t) => {
      const receiver = await receiverFor(t);
      assert.deepEqual(ending(await signalled(t, receiver, "flushOnSignals()", [signal])), [null, signal, "ready"]);
      assert.equal((await receiver.state()).rows, 1);
    });
  }

  test("without it, or when it is undone, nothing is sent", async (t) => {
    const receiver = await receiverFor(t);
    for (const rest of ["", "flushOnSignals()()"]) {
      assert.deepEqual(ending(await signalled(t, receiver, rest)), [null, "SIGTERM", "ready"]);
    }
    assert.equal((await receiver.state()).rows, 0);
  });

  test("a server that hangs delays the end for as long as told", async (t) => {
    const receiver = await receiverFor(t);
    await receiver.fault({ hang: true });
    const ended = await signalled(t, receiver, "flushOnSignals({ timeoutMs: 500 })");
    assert.deepEqual(ending(ended), [null, "SIGTERM", "ready"]);
    assert.ok(ended.elapsed > 450 && ended.elapsed < 3000, `${ended.elapsed} ms`);
  });

  test("a second signal ends the process at once", async (t) => {
    const receiver = await receiverFor(t);
    await receiver.fault({ hang: true });
    const ended = await signalled(t, receiver, "flushOnSignals({ timeoutMs: 20_000 })", ["SIGTERM", "SIGINT"]);
    assert.deepEqual(ending(ended), [null, "SIGINT", "ready"]);
    assert.ok(ended.elapsed < 5000, `${ended.elapsed} ms`);
  });

  test("another listener decides how the process ends, also one that is called once, before or after", async (t) => {
    const receiver = await receiverFor(t);
    const other = `process.once("SIGTERM", () => setTimeout(() => process.exit(7), 400))`;
    for (const rest of [`flushOnSignals(); ${other}`, `${other}; flushOnSignals()`]) {
      assert.deepEqual(ending(await signalled(t, receiver, rest)), [7, null, "ready"]);
    }
    assert.equal((await receiver.state()).rows, 2);
  });

  test("where other listeners keep the process, the next signal is flushed for, too", async (t) => {
    const receiver = await receiverFor(t);
    const rest = `
      flushOnSignals();
      let count = 0;
      process.on("SIGTERM", () => {
        if (++count === 2) setTimeout(() => process.exit(8), 400);
        const next = setInterval(() => {
          if (langfuse.stats().delivered < 1 || count > 1) return;
          clearInterval(next);
          langfuse.startObservation("two").end();
          setTimeout(() => process.kill(process.pid, "SIGTERM"), 100);
        }, 10);
      })`;
    assert.deepEqual(ending(await signalled(t, receiver, rest)), [8, null, "ready"]);
    assert.deepEqual((await receiver.rows()).map(({ name }) => name).toSorted(), ["one", "two"]);
  });

  test("of the clients given, or of all copies of the package, each with a hook", async (t) => {
    const receiver = await receiverFor(t);
    const given = `
      const other = new Langfuse(options);
      other.startObservation("other").end();
      flushOnSignals({ clients: [other] })`;
    assert.deepEqual(ending(await signalled(t, receiver, given)), [null, "SIGTERM", "ready"]);
    assert.deepEqual((await receiver.rows()).map(({ name }) => name), ["other"]);
    await receiver.reset();
    const copies = `
      const required = createRequire(import.meta.url)(${JSON.stringify(createRequire(import.meta.url).resolve("langfuse-edge"))});
      const other = new required.Langfuse(options);
      other.startObservation("required").end();
      flushOnSignals({ clients: [langfuse] });
      required.flushOnSignals()`;
    assert.deepEqual(ending(await signalled(t, receiver, copies)), [null, "SIGTERM", "ready"]);
    assert.deepEqual((await receiver.rows()).map(({ name }) => name).toSorted(), ["one", "required"]);
  });
});
