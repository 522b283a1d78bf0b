// How steps flush, objects whose methods are steps, and what runWorkflowWithFlush takes and gives.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { flushLangfuse, getActiveSpanId, Langfuse, runWorkflowWithFlush, setLangfuse, startActiveObservation, startObservation, step, workflowSteps } from "langfuse-edge";

import { httpServerFor, nobodyListens } from "./support/http-server.mjs";
import { COMPLETE, deferred, endOf, failedWith, observed } from "./support/observed.mjs";
import { KEYS, receiverFor } from "./support/receiver.mjs";
import { until } from "./support/until.mjs";

const { client, receiver, rows } = observed();

const names = async () => (await receiver().rows()).map(({ name }) => name).toSorted();

describe("a step's flush", () => {
  test("is shared by steps of one parent that end together", async () => {
    await step("root", async () => {
      await Promise.all(["a", "b", "c", "d", "e"].map((name) => step(name, () => undefined)));
      assert.deepEqual(await names(), ["a", "b", "c", "d", "e"]);
      assert.equal((await receiver().requests()).length, 1);
    });
    assert.equal((await receiver().requests()).length, 2);
  });

  test("is waited for a second at most, and goes on in the background", async (t) => {
    const slow = await receiverFor(t, ["--fault", '{"delayMs":1500}']);
    setLangfuse(new Langfuse({ ...KEYS, baseUrl: slow.url, flushAt: 1_000_000, flushInterval: 0 }));
    const start = performance.now();
    await step("slow", () => undefined);
    const seconds = (performance.now() - start) / 1000;
    assert.ok(seconds >= 0.9 && seconds < 1.4, `${seconds}`);
    await until(async () => (await slow.rows()).length === 1);
    assert.equal((await slow.state()).duplicates, 0);
  });

  test("is that of the current client, which records it, be it the process-wide one or not", async (t) => {
    const another = await receiverFor(t);
    const own = new Langfuse({ ...KEYS, baseUrl: another.url, flushAt: 1_000_000, flushInterval: 0 });
    const elsewhere = own.startObservation("elsewhere");
    await startActiveObservation("of the process", async (process) => {
      await startActiveObservation("around", () => step("within", () => step("deeper", () => 1)), { client: own });
      await step("below a parent", () => 1, { parent: elsewhere });
      assert.deepEqual(await names(), [], "the process-wide client has nothing to send");
      await step("of the process, too", () => 1, { parent: process });
    });
    assert.deepEqual((await another.rows()).map(({ name }) => name).toSorted(), ["around", "below a parent", "deeper", "within"]);
    const named = Object.fromEntries((await another.rows()).map((row) => [row.name, row]));
    const parents = ["within", "deeper", "below a parent"].map((name) => named[name].parentObservationId);
    assert.deepEqual(parents, [named.around.id, named.within.id, elsewhere.id]);
    assert.deepEqual(await names(), ["of the process, too"]);
  });

  test("is never waited for with waitMs: 0, and left out with flush: false", async (t) => {
    const slow = await receiverFor(t, ["--fault", '{"delayMs":300}']);
    setLangfuse(new Langfuse({ ...KEYS, baseUrl: slow.url, flushAt: 1_000_000, flushInterval: 0 }));
    const start = performance.now();
    await step("not waited for", () => undefined, { waitMs: 0 });
    assert.ok(performance.now() - start < 250);
    await until(async () => (await slow.rows()).length === 1);
    await step("with the next", () => undefined, { flush: false });
    assert.equal((await slow.requests()).length, 1);
    assert.ok((await flushLangfuse()).ok);
    assert.equal((await slow.rows()).length, 2);
  });
});

describe("an object whose methods are steps", () => {
  class Emails {
    #sent = [];
    async run(email) {
      const plan = await this.plan(email);
      await Promise.all(plan.map((tool) => this.execute(tool)));
      return this.#sent;
    }
    async plan(email) {
      return [`${email} 1`, `${email} 2`];
    }
    async execute(tool) {
      this.#sent.push(tool);
      if (tool === "bad 2") throw new Error("no such tool");
    }
    get last() {
      return this.#sent.at(-1);
    }
    _hidden() {
      return getActiveSpanId();
    }
    sum(a, b) {
      return a + b;
    }
    *count() {
      yield 1;
      yield 2;
    }
  }

  test("is the object itself, with its fields, and its methods' calls of each other are steps too", async () => {
    const emails = new Emails();
    assert.equal(workflowSteps(emails), emails);
    assert.deepEqual(Object.keys(emails), Object.keys(new Emails()));
    assert.deepEqual(await runWorkflowWithFlush(emails, "e"), ["e 1", "e 2"]);
    const all = await receiver().rows();
    const named = (name) => all.filter((row) => row.name === name);
    const [run] = named("run");
    assert.deepEqual([run.parentObservationId, run.input, run.output], [null, "e", '["e 1","e 2"]']);
    assert.deepEqual([...named("plan"), ...named("execute")].map((row) => row.parentObservationId), [run.id, run.id, run.id]);
    assert.equal(emails.last, "e 2");
  });

  test("is flushed step by step, and a step that fails fails the workflow with the same error", async () => {
    const emails = workflowSteps(new Emails());
    await emails.plan("e");
    assert.deepEqual(await names(), ["plan"]);
    await client();
    await assert.rejects(runWorkflowWithFlush(emails, "bad"), /^Error: no such tool$/);
    const found = (await receiver().rows()).filter(({ level }) => level === "ERROR");
    assert.deepEqual(found.map(({ name, statusMessage }) => [name, statusMessage]).toSorted(), [
      ["execute", "no such tool"],
      ["run", "no such tool"],
    ]);
  });

  test("gives what it gave: values at once, generators as generators, hidden methods unobserved", async () => {
    const emails = workflowSteps(new Emails(), { captureInput: false });
    assert.equal(emails.sum(1, 2), 3);
    assert.deepEqual([...emails.count()], [1, 2]);
    assert.equal(emails._hidden(), undefined);
    const { sum, count } = await rows();
    assert.deepEqual([sum.input, ...endOf(sum)], [null, ...COMPLETE, "3"]);
    assert.deepEqual(endOf(count), [...COMPLETE, "[1,2]"]);
    const sync = workflowSteps({ fails() { throw new TypeError("sync"); } });
    assert.throws(() => sync.fails(), /^TypeError: sync$/);
    assert.deepEqual(endOf((await rows()).fails).slice(0, 2), failedWith("sync"));
  });

  test("can be some of its methods, of a kind", async () => {
    const emails = workflowSteps(new Emails(), { only: ["plan"], asType: "agent" });
    await emails.run("e");
    const found = await rows();
    assert.deepEqual(Object.keys(found), ["plan"]);
    assert.equal(found.plan.type, "AGENT");
  });

  test("what cannot be a step is refused, by its name", () => {
    assert.throws(() => workflowSteps(new Emails(), { only: ["plam"] }), /^Error: langfuse-edge: workflowSteps: only must name methods of the object, and plam is none$/);
    assert.throws(() => workflowSteps(Object.freeze(new Emails())), /^Error: langfuse-edge: workflowSteps: run cannot be replaced: the object must not be frozen$/);
  });
});

describe("runWorkflowWithFlush", () => {
  test("refuses what is no workflow", async () => {
    for (const nothing of [undefined, {}, 7, { run: 1 }]) {
      await assert.rejects(runWorkflowWithFlush(nothing), /^Error: langfuse-edge: runWorkflowWithFlush: workflow must be a function or an object with a method run$/);
    }
  });

  test("a flush that fails masks neither a result nor an error", async (t) => {
    t.mock.method(console, "warn", () => {});
    const broken = await httpServerFor(t, (_, response) => response.writeHead(401).end());
    for (const baseUrl of [broken.url, `${broken.url}/other`]) {
      setLangfuse(new Langfuse({ ...KEYS, baseUrl }));
      const record = () => startObservation("one").end();
      assert.equal(await runWorkflowWithFlush(() => (record(), "result")), "result");
      const error = new Error("own");
      await assert.rejects(runWorkflowWithFlush(() => { record(); throw error; }), (thrown) => thrown === error);
    }
  });

  test("a workflow that is cancelled by its signal is flushed", async () => {
    const { promise, reject } = deferred();
    const signal = AbortSignal.timeout(20);
    signal.addEventListener("abort", () => reject(signal.reason));
    await assert.rejects(runWorkflowWithFlush(() => step("waits", () => promise)), { name: "TimeoutError" });
    assert.deepEqual(await names(), ["waits"]);
  });

  test("several workflows are in one flush, and none waits for a server when Langfuse is disabled", async () => {
    await Promise.all(["a", "b", "c"].map((name) => runWorkflowWithFlush(() => startObservation(name).end())));
    assert.deepEqual(await names(), ["a", "b", "c"]);
    setLangfuse(new Langfuse({ enabled: false, ...KEYS, baseUrl: await nobodyListens() }));
    assert.equal(await runWorkflowWithFlush(() => step("quiet", () => 1)), 1);
  });
});
