// A trap in the wasm module costs the records that were in it, which the next flush tells, and nothing else.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { instances, spoilMemory } from "./support/traps.mjs";
import { Langfuse } from "langfuse-edge";

import { startScript } from "./support/program.mjs";
import { KEYS, receiverFor, variablesFor } from "./support/receiver.mjs";
import { until } from "./support/until.mjs";

function record(langfuse, count, name = "one") {
  for (let n = 0; n < count; n++) langfuse.startObservation(name).end();
}

const lost = (count) => ({ ok: false, dropped: count, dropReasons: count ? { state_lost: count } : {} });
const loss = ({ ok, dropped, dropReasons }) => ({ ok, dropped, dropReasons });

async function losesAndGoesOn(t, Langfuse) {
  const receiver = await receiverFor(t);
  const langfuse = new Langfuse(receiver.options);
  for (const round of [1, 2, 3]) {
    record(langfuse, 10, "lost");
    const before = instances.length;
    spoilMemory();
    record(langfuse, 5, "kept");
    const report = await langfuse.flush();
    assert.deepEqual(loss(report), lost(10));
    assert.deepEqual([report.delivered, report.retained, report.rejected], [5, 0, []]);
    assert.equal(instances.length, before + 1);
    const next = await langfuse.flush();
    assert.deepEqual([next.ok, next.dropped], [true, 0], "told once");
    assert.equal((await receiver.state()).rows, 5 * round);
  }
  assert.ok((await receiver.rows()).every(({ name }) => name === "kept"));
}

describe("after a trap", () => {
  test("the next call works, and the next flush tells what was lost", (t) => losesAndGoesOn(t, Langfuse));

  test("it may be the flush that traps", async (t) => {
    const receiver = await receiverFor(t);
    const langfuse = new Langfuse(receiver.options);
    record(langfuse, 10);
    spoilMemory();
    assert.deepEqual(loss(await langfuse.flush()), lost(10));
    record(langfuse, 1);
    assert.equal((await langfuse.flush()).ok, true);
  });

  test("every client is back, as it was made, with its own loss", async (t) => {
    const [one, two] = [await receiverFor(t), await receiverFor(t)];
    const options = { ...one.options, environment: "staging" };
    const first = new Langfuse(options);
    const variables = variablesFor(two.url);
    const second = Langfuse.fromEnv(variables);
    const disabled = new Langfuse({ enabled: false });
    record(first, 3);
    record(second, 4);
    // What they were made from is not asked for again.
    options.environment = "production";
    options.publicKey = "";
    delete variables.LANGFUSE_SECRET_KEY;
    spoilMemory();
    for (const langfuse of [first, second, disabled]) record(langfuse, 2);
    assert.deepEqual([first.enabled, second.enabled, disabled.enabled], [true, true, false]);
    assert.deepEqual(loss(await first.flush()), lost(3));
    assert.deepEqual(loss(await second.flush()), lost(4));
    assert.deepEqual(loss(await disabled.flush()), { ok: true, dropped: 0, dropReasons: {} });
    assert.deepEqual((await one.rows()).map(({ environment }) => environment), ["staging", "staging"]);
    assert.equal((await two.state()).rows, 2);
  });

  test("a loss that no flush has told yet is told after the next trap", async (t) => {
    const receiver = await receiverFor(t);
    const langfuse = new Langfuse(receiver.options);
    for (const count of [3, 4, 5]) {
      record(langfuse, count);
      spoilMemory();
    }
    assert.deepEqual(loss(await langfuse.flush()), lost(12));
  });

  test("what was open is whole: only what had ended is lost", async (t) => {
    const receiver = await receiverFor(t);
    const langfuse = new Langfuse(receiver.options);
    const open = langfuse.startObservation("open", { input: "before" }, { asType: "agent" });
    const ended = open.startObservation("ended");
    ended.end();
    spoilMemory();
    open.update({ output: "after" });
    const child = open.startObservation("child");
    assert.deepEqual(loss(await langfuse.flush()), lost(1));
    for (const observation of [ended, child, open]) {
      observation.end();
      observation.end();
    }
    const next = await langfuse.flush();
    assert.deepEqual([next.ok, next.delivered, next.dropped], [true, 2, 0]);
    const rows = await receiver.rows();
    const said = rows.map(({ name, id, traceId, type, parentObservationId, input, output }) => ({ name, id, traceId, type, parentObservationId, input, output }));
    const { traceId } = open;
    assert.deepEqual(said, [
      { name: "child", id: child.id, traceId, type: "SPAN", parentObservationId: open.id, input: null, output: null },
      { name: "open", id: open.id, traceId, type: "AGENT", parentObservationId: null, input: "before", output: "after" },
    ]);
  });

  test("an option that cannot be used is an Error", async (t) => {
    const receiver = await receiverFor(t);
    const langfuse = new Langfuse(receiver.options);
    spoilMemory();
    assert.throws(() => new Langfuse({ ...KEYS, baseUrl: "nowhere" }), /^Error: langfuse-edge: baseUrl/);
    const before = instances.length;
    assert.throws(() => new Langfuse({ ...KEYS, baseUrl: "nowhere" }), /^Error: langfuse-edge: baseUrl/);
    assert.equal(instances.length, before, "and costs no instance");
    record(langfuse, 1);
    assert.equal((await langfuse.flush()).ok, true);
  });

  test("a client that was shut down stays so", async (t) => {
    const receiver = await receiverFor(t);
    const langfuse = new Langfuse(receiver.options);
    record(langfuse, 2);
    assert.equal((await langfuse.shutdown()).delivered, 2);
    spoilMemory();
    record(langfuse, 3);
    assert.deepEqual(loss(await langfuse.flush()), lost(3));
    assert.equal((await receiver.state()).rows, 2);
  });

  test("a client that was freed stays so, and costs no instance", async (t) => {
    const receiver = await receiverFor(t);
    const langfuse = new Langfuse(receiver.options);
    const observation = langfuse.startObservation("one");
    observation.free();
    const open = langfuse.startObservation("open");
    langfuse.free();
    langfuse.free();
    const before = instances.length;
    observation.update({}).startObservation("child").end();
    observation.end();
    open.update({}).startObservation("below").end();
    open.end();
    record(langfuse, 3);
    assert.deepEqual(loss(await langfuse.flush()), lost(0));
    assert.deepEqual([langfuse.enabled, instances.length], [false, before]);
  });

  test("that the garbage collector causes, no process ends", async (t) => {
    const receiver = await receiverFor(t);
    const { code, output } = await startScript(
      t,
      `import { spoilMemory } from ${JSON.stringify(new URL("support/traps.mjs", import.meta.url))};
      import { Langfuse } from "langfuse-edge";
      const options = ${JSON.stringify(receiver.options)};
      let collected = 0;
      const registry = new FinalizationRegistry(() => collected++);
      (() => {
        const forgotten = new Langfuse(options);
        forgotten.startObservation("forgotten").end();
        registry.register(forgotten);
      })();
      // So that every count of references is at its last.
      spoilMemory(1);
      // What the client has inside is found one after the other.
      for (let turn = 0; collected === 0 || turn < 20; turn++) {
        gc();
        await new Promise((resolve) => setImmediate(resolve));
      }
      const langfuse = new Langfuse(options);
      langfuse.startObservation("one").end();
      console.log((await langfuse.flush()).delivered);`,
      {},
      { gc: true },
    ).done;
    assert.deepEqual([code, output], [0, "1"]);
  });
});

describe("a flush whose instance is lost", () => {
  /** The timer of a lost attempt keeps Node.js for so long. */
  const timeout = 1;

  test("on its way: its promise is fulfilled, and its report tells the loss", async (t) => {
    const receiver = await receiverFor(t);
    await receiver.fault({ delayMs: 100 });
    const langfuse = new Langfuse({ ...receiver.options, timeout });
    record(langfuse, 10);
    for (const method of ["flush", "shutdown"]) {
      const flushing = langfuse[method]();
      spoilMemory();
      assert.deepEqual(loss(await flushing), lost(method === "flush" ? 10 : 2));
      assert.deepEqual(loss(await langfuse.flush()), { ok: method === "flush", ...(method === "flush" ? { dropped: 0, dropReasons: {} } : lost(0)) });
      record(langfuse, 2);
    }
  });

  test("to another call: so is that of every flush that was under way, of every client", async (t) => {
    const receiver = await receiverFor(t);
    await receiver.fault({ delayMs: 300 });
    const [one, two] = [new Langfuse({ ...receiver.options, timeout }), new Langfuse({ ...receiver.options, timeout })];
    record(one, 10);
    record(two, 5);
    const flushes = [one.flush(), one.flush(), two.flush()];
    spoilMemory();
    record(one, 1, "after");
    const after = await one.flush();
    assert.deepEqual([loss(after), after.delivered], [lost(10), 1]);
    const reports = await Promise.all(flushes);
    assert.deepEqual(reports.map(loss), [lost(10), lost(10), lost(5)]);
    assert.ok(reports.every(({ delivered, retained }) => delivered === 0 && retained === 0));
    const next = [await one.flush(), await two.flush()];
    assert.deepEqual(next.map(({ ok, dropped }) => [ok, dropped]), [[true, 0], [true, 0]]);
  });

  test("while it waits to try again: so is it", async (t) => {
    const receiver = await receiverFor(t);
    await receiver.fault({ status: 503, retryAfter: "1" });
    const langfuse = new Langfuse({ ...receiver.options, timeout });
    record(langfuse, 10);
    const flushing = langfuse.flush();
    await until(async () => (await receiver.state()).requests === 1);
    await sleep(50);
    spoilMemory();
    record(langfuse, 1);
    assert.deepEqual(loss(await flushing), lost(10));
    await receiver.fault({});
    assert.equal((await langfuse.flush()).delivered, 1);
  });
});

describe("at the edge of the stack", () => {
  /**
   * Calls `act` from the deepest frame there is and from 300 above it, again and again with frames of another size, so
   * that the stack ends at many a point. Gives how many calls were begun, and how many returned.
   */
  function everywhere(act, rounds) {
    const counts = { begun: 0, returned: 0 };
    const thrown = [];
    let left;
    function descend(...args) {
      try {
        descend(...args);
      } catch (error) {
        // A call here would need more stack than one into wasm.
        thrown[thrown.length] = error;
      }
      if (left-- > 0) {
        counts.begun++;
        act();
        counts.returned++;
      }
    }
    for (let round = 0; round < rounds; round++) {
      left = 300;
      descend(...Array(2 * round));
    }
    for (const error of thrown) assert.ok(error instanceof RangeError, error);
    return counts;
  }

  test("calls throw nothing but a RangeError, and the accounts add up", async (t) => {
    const receiver = await receiverFor(t);
    const langfuse = new Langfuse(receiver.options);
    record(langfuse, 10);
    const before = instances.length;
    const { begun, returned } = everywhere(() => langfuse.startObservation("edge", { input: { a: 1 } }).end(), 30);
    const { delivered, dropped, dropReasons } = await langfuse.flush();
    const made = instances.length - before;
    t.diagnostic(`${returned} of ${begun} returned, ${delivered} arrived, ${dropped} dropped, ${made} new instances`);
    assert.ok(made > 0, "the stack ended within wasm");
    assert.deepEqual(dropReasons, { state_lost: dropped });
    assert.equal((await receiver.state()).rows, delivered);
    const sum = delivered + dropped;
    assert.ok(returned + 10 <= sum && sum <= begun + 10);
    record(langfuse, 1);
    assert.deepEqual(loss(await langfuse.flush()), { ok: true, dropped: 0, dropReasons: {} });
  });

  test("flushes throw nothing but a RangeError, and those that were begun are fulfilled with a whole report", async (t) => {
    const receiver = await receiverFor(t);
    const langfuse = new Langfuse({ ...receiver.options, timeout: 1 });
    const properties = Object.keys(await langfuse.flush());
    const before = instances.length;
    const flushes = [];
    let returned = 0;
    // A few rounds may all end outside of wasm.
    for (let n = 0; n < 10 && instances.length === before; n++) {
      const counts = everywhere(() => {
        record(langfuse, 1);
        flushes[flushes.length] = langfuse.flush();
      }, 5);
      returned += counts.returned;
    }
    assert.ok(instances.length > before, "the stack ended within wasm");
    const reports = await Promise.all(flushes);
    assert.ok(reports.length >= returned);
    for (const report of reports) assert.deepEqual(Object.keys(report), properties);
    record(langfuse, 1);
    assert.equal((await langfuse.flush()).ok, true);
  });

  test("calls from getters lose nothing but themselves", async (t) => {
    const receiver = await receiverFor(t);
    const langfuse = new Langfuse(receiver.options);
    record(langfuse, 10);
    const before = instances.length;
    let [calls, returned] = [0, 0];
    const endless = {
      input: "input",
      modelParameters: {
        get below() {
          calls++;
          langfuse.startObservation("below", endless).end();
          returned++;
          return "below";
        },
        beside: "beside",
      },
    };
    langfuse.startObservation("above", endless).end();
    assert.ok(calls > 50, `${calls}`);
    for (let n = 0; n < 50; n++) langfuse.startObservation("kept", { input: "input", metadata: { n } }).end();
    const { dropped } = await langfuse.flush();
    const rows = await receiver.rows();
    assert.equal(rows.filter(({ name, input }) => name === "kept" && input === "input").length, 50);
    const sum = rows.length + dropped;
    t.diagnostic(`${rows.length} arrived, ${dropped} dropped, ${instances.length - before} new instances`);
    assert.ok(returned + 61 <= sum && sum <= calls + 61, `${returned + 61} returned, ${sum} accounted for`);
    // The stack may end again while the calls below return.
    assert.ok(instances.length - before <= 5);
  });
});

test("a getter that has the instance replaced leaves the new one whole", async (t) => {
  const receiver = await receiverFor(t);
  const langfuse = new Langfuse(receiver.options);
  const traceId = "0af7651916cd43dd8448eb211c80319c";
  const body = {
    name: "around",
    value: 1,
    traceId,
    comment: "y".repeat(100_000),
    // The core makes JSON of it.
    metadata: {
      get reason() {
        // It leaves the frames below whole, which could go on.
        const { now } = Date;
        Date.now = () => {
          Date.now = now;
          throw new Error("no clock");
        };
        langfuse.score.create({ name: "within", value: 1, traceId, comment: "x".repeat(100_000) });
        return "because";
      },
    },
  };
  langfuse.score.create(body);
  const report = await langfuse.flush();
  assert.deepEqual([report.delivered, loss(report)], [1, lost(1)]);
  const [{ name, comment }] = await receiver.scores();
  assert.deepEqual([name, comment], ["within", "x".repeat(100_000)]);
});

// Last, because from here on the newest instance is that of another copy of the module.
test("it is so for those who require the package", (t) => losesAndGoesOn(t, createRequire(import.meta.url)("langfuse-edge").Langfuse));
