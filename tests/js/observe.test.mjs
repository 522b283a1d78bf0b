// Functions that are observed: what they take, what they are called on, how they look; and starting by name.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import {
  getActiveSpanId,
  getActiveTraceId,
  Langfuse,
  observe,
  startActiveObservation,
  startObservation,
  updateActiveObservation,
} from "langfuse-edge";

import { COMPLETE, endOf, failedWith, observed } from "./support/observed.mjs";

const { client, receiver, rows } = observed();

describe("observe", () => {
  test("arguments are the input, the result is the output, the function's name is the name", async () => {
    async function summarize(text, options) {
      return { text, options };
    }
    assert.deepEqual(await observe(summarize)("a", { b: 1 }), { text: "a", options: { b: 1 } });
    const { summarize: row } = await rows();
    assert.deepEqual([row.input, row.output, row.type], ['["a",{"b":1}]', '{"text":"a","options":{"b":1}}', "SPAN"]);
  });

  test("the only argument is the input as it is, and none is none", async () => {
    const echo = (value) => value;
    observe(echo, { name: "one" })("text");
    observe(echo, { name: "none" })();
    observe(echo, { name: "undefined" })(undefined);
    observe(echo, { name: "two" })(undefined, 2);
    const row = await rows();
    assert.deepEqual(["one", "none", "undefined", "two"].map((name) => row[name].input), ["text", null, null, "[null,2]"]);
  });

  test("the input is what it was when the function was called", async () => {
    observe((list) => list.push("later"), { name: "one" })(["then"]);
    assert.equal((await rows()).one.input, '["then"]');
  });

  test("a function without a name is anonymous-function, and an option names any", async () => {
    observe(() => {})();
    observe(function named() {}, { name: "other" })();
    assert.deepEqual(Object.keys(await rows()).sort(), ["anonymous-function", "other"]);
  });

  test("neither input nor output when they are not wanted", async () => {
    const options = { captureInput: false, captureOutput: false };
    observe((secret) => secret, { name: "value", ...options })("secret");
    [...observe(function* (secret) { yield secret; }, { name: "parts", ...options })("secret")];
    assert.throws(() => observe(() => { throw new Error("said"); }, { name: "error", ...options })());
    const row = await rows();
    for (const name of ["value", "parts", "error"]) assert.deepEqual([row[name].input, row[name].output], [null, null]);
    assert.deepEqual(endOf(row.error), [...failedWith("said"), null]);
  });

  test("kind, start and parent are as options say", async () => {
    const parentSpanContext = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    observe(() => {}, { name: "one", asType: "tool", startTime: 1_700_000_000_000, parentSpanContext })();
    const { one } = await rows();
    assert.deepEqual([one.type, one.startTimeUnixNano, one.traceId, one.parentObservationId], [
      "TOOL",
      "1700000000000000000",
      "0af7651916cd43dd8448eb211c80319c",
      "b7ad6b7169203331",
    ]);
  });

  test("this is what the function is called on: an object, an instance, nothing", async () => {
    class Counter {
      #count = 0;
      add = observe(function (n) { return (this.#count += n); }, { name: "add" });
    }
    const counter = new Counter();
    assert.equal(counter.add(2), 2);
    assert.equal(counter.add.call(counter, 3), 5);
    const own = observe(function () { return this; }, { name: "this" });
    const on = {};
    assert.equal(own.call(on), on);
    assert.equal(own(), undefined);
    assert.equal((await receiver().state()).rows, 0);
  });

  test("methods of a prototype", async () => {
    class Agent {
      constructor(name) { this.name = name; }
      ask(question) { return `${this.name}: ${question}`; }
    }
    Agent.prototype.ask = observe(Agent.prototype.ask);
    assert.equal(new Agent("a").ask("?"), "a: ?");
    assert.equal((await rows()).ask.output, "a: ?");
  });

  test("the wrapped function looks like the function", () => {
    const original = Object.assign(function handler(a, b, c, next) { return [a, b, c, next]; }, { schema: { type: "object" } });
    const wrapped = observe(original);
    assert.deepEqual([wrapped.name, wrapped.length, wrapped.schema], ["handler", 4, original.schema]);
    class Model {}
    assert.ok(new (observe(Model))() instanceof Model);
  });

  test("each call is an observation of its own, recursion a tree", async () => {
    const fall = observe((n) => (n > 0 ? fall(n - 1) : "ground"), { name: "fall" });
    assert.equal(fall(2), "ground");
    const langfuse = await client();
    fall(2);
    await langfuse.flush();
    const all = (await receiver().rows()).toSorted((a, b) => Number(b.input) - Number(a.input));
    assert.deepEqual(all.map(({ parentObservationId }) => parentObservationId), [null, all[0].id, all[1].id]);
    assert.equal(new Set(all.map(({ traceId }) => traceId)).size, 1);
  });

  test("arguments that cannot be written down do not keep the function from being called", async () => {
    const hostile = new Proxy({}, { get() { throw new Error("no"); }, ownKeys() { throw new Error("no"); } });
    assert.equal(observe((value) => typeof value, { name: "one" })(hostile), "object");
    assert.equal((await rows()).one.input, "[not serializable]");
  });

  test("what ends by itself is not ended again, and what the function says of itself is kept", async () => {
    observe(() => { updateActiveObservation({ metadata: { k: "v" }, level: "DEBUG" }); return 1; }, { name: "one" })();
    observe(() => "click", { name: "event", asType: "event" })("at");
    const { one, event } = await rows();
    assert.deepEqual([one.level, one.metadata.k, one.output], ["DEBUG", "v", "1"]);
    assert.deepEqual([event.type, event.input], ["EVENT", "at"]);
  });
});

describe("startActiveObservation", () => {
  test("gives the callback's result and the callback its observation", async () => {
    const given = startActiveObservation("work", (observation) => {
      assert.deepEqual([getActiveSpanId(), getActiveTraceId()], [observation.id, observation.traceId]);
      observation.update({ output: "own", model: "m" });
      return 7;
    }, { asType: "generation" });
    assert.equal(given, 7);
    const { work } = await rows();
    assert.deepEqual([work.type, work.providedModelName, ...endOf(work)], ["GENERATION", "m", ...COMPLETE, "own"]);
  });

  test("its result is not the output, nor is its error", async () => {
    assert.throws(() => startActiveObservation("fails", () => { throw new Error("said"); }), /said/);
    await startActiveObservation("gives", async () => "secret");
    const { fails, gives } = await rows();
    assert.deepEqual([endOf(fails), endOf(gives)], [[...failedWith("said"), null], [...COMPLETE, null]]);
  });

  test("an observation that the callback ends stays as it was then", async () => {
    const end = new Date("2026-01-01T00:00:01Z");
    await startActiveObservation("early", async (observation) => observation.update({ output: "then" }).end(end), { startTime: 1_767_225_600_000 });
    const { early } = await rows();
    assert.deepEqual([early.output, early.endTime], ["then", end.toISOString()]);
  });

  test("a generator callback", async () => {
    assert.deepEqual([...startActiveObservation("steps", function* (observation) { yield observation.type; })], ["span"]);
    assert.deepEqual(endOf((await rows()).steps), [...COMPLETE, null]);
  });
});

describe("startObservation and updateActiveObservation", () => {
  test("start a child of the current observation, and are not the current one", async () => {
    startActiveObservation("outer", (outer) => {
      const child = startObservation("child", { input: 1 }, { asType: "agent" });
      assert.equal(getActiveSpanId(), outer.id);
      child.end();
    });
    startObservation("root").end();
    const { outer, child, root } = await rows();
    assert.deepEqual([child.parentObservationId, child.type, child.input], [outer.id, "AGENT", "1"]);
    assert.deepEqual([root.parentObservationId, root.traceId === outer.traceId], [null, false]);
  });

  test("options and attributes may be null", async () => {
    startObservation("null", null, null).end();
    startActiveObservation("active", () => {}, null);
    observe(() => {}, null)();
    assert.equal(Object.keys(await rows()).length, 3);
  });

  test("without a current observation there is no id, and an update warns", (t) => {
    const warn = t.mock.method(console, "warn", () => {});
    updateActiveObservation({ output: 1 });
    assert.deepEqual([getActiveSpanId(), getActiveTraceId()], [undefined, undefined]);
    assert.deepEqual(warn.mock.calls.map(({ arguments: [text] }) => text), ["langfuse-edge: updateActiveObservation: there is no current observation"]);
  });

  test("without keys nothing happens, and functions work", async (t) => {
    t.mock.method(console, "warn", () => {});
    const none = new Langfuse({ publicKey: "", secretKey: "" });
    assert.equal(none.enabled, false);
    assert.equal(await startActiveObservation("none", async () => 1, { client: none }), 1);
    assert.deepEqual(Object.keys(await rows()), []);
  });

  test("an observation that is not sampled keeps what is below it from being recorded", async () => {
    await client({ sampleRate: 0 });
    assert.deepEqual([...observe(function* outer() { yield startObservation("inner").traceId === getActiveTraceId(); })()], [true]);
    assert.deepEqual(Object.keys(await rows()), []);
  });
});
