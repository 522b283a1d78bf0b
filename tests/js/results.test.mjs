// What observed functions give: the caller gets what it would have got, and the observation ends once, when the result is complete.
// Here values, promises and generators; streams and the SDK's results have files of their own.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { getActiveSpanId, observe, startActiveObservation, startObservation } from "langfuse-edge";

import { COMPLETE, deferred, endOf, failedWith, STOPPED } from "./support/observed.mjs";
import { startScript } from "./support/program.mjs";
import { all, boom, observedResults, text } from "./support/results.mjs";

const { client, end, receiver, result, rows } = observedResults();

describe("values", () => {
  test("a value is given as it is, and is the output", async () => {
    const value = Object.freeze({ a: 1 });
    assert.equal(result(value), value);
    assert.deepEqual(await end(), [...COMPLETE, '{"a":1}']);
  });

  test("nothing, a function, a list, a map: what is no stream ends the observation at once", async () => {
    for (const value of [undefined, null, 0, "", () => 1, [1], new Map([[1, 2]]), new Set(), "text", new Uint8Array(2), Symbol("s")]) {
      await client();
      assert.equal(result(value), value);
      assert.equal((await end())[0], "DEFAULT");
    }
  });

  test("an object whose every property throws is given as it is", async () => {
    const hostile = new Proxy({}, { get: boom, has: boom, ownKeys: boom, getPrototypeOf: boom, getOwnPropertyDescriptor: boom });
    assert.equal(result(hostile), hostile);
    assert.equal((await end())[0], "DEFAULT");
  });

  test("an error is thrown on, unchanged, and is level, message and output", async () => {
    for (const [error, message, output] of [
      [new TypeError("no"), "no", '{"error":"TypeError: no"}'],
      ["text", "text", '{"error":"text"}'],
      [undefined, "undefined", '{"error":"undefined"}'],
      [{ code: 7 }, '{"code":7}', '{"error":"[object Object]"}'],
      [{ message: "an object's" }, "an object's", '{"error":"[object Object]"}'],
      [new Error(""), "Function threw an error", '{"error":"Error"}'],
      [Object.create(null), "{}", '{"error":"{}"}'],
      [Symbol("s"), "Symbol(s)", '{"error":"Symbol(s)"}'],
    ]) {
      await client();
      const name = `error ${message}`;
      const fails = observe(() => { throw error; }, { name });
      let thrown;
      try {
        fails();
        assert.fail("it did not throw");
      } catch (caught) {
        thrown = caught;
      }
      assert.equal(thrown, error);
      const row = (await rows())[name];
      assert.deepEqual(endOf(row), [...failedWith(message), output]);
    }
  });

  test("a frozen error is thrown on as it is", async () => {
    const error = Object.freeze(new Error("frozen"));
    assert.throws(() => observe(() => { throw error; }, { name: "one" })(), (thrown) => thrown === error);
    assert.equal((await end())[1], "frozen");
  });
});

describe("promises", () => {
  test("the observation ends when the promise is fulfilled, and not before", async () => {
    const { promise, resolve } = deferred();
    const given = result(promise);
    assert.ok(given instanceof Promise);
    assert.equal(await end(), undefined);
    resolve("late");
    assert.equal(await given, "late");
    assert.deepEqual(await end(), [...COMPLETE, "late"]);
  });

  test("a rejection is the caller's, with the same error", async () => {
    const error = new Error("late");
    await assert.rejects(result(Promise.reject(error)), (rejected) => rejected === error);
    assert.deepEqual(await end(), [...failedWith("late"), '{"error":"Error: late"}']);
  });

  test("a rejection that nobody handles is told once, as without observe", async (t) => {
    const { code, output } = await startScript(
      t,
      `import { Langfuse, observe } from "langfuse-edge";
      const client = new Langfuse({ publicKey: "pk", secretKey: "sk", flushInterval: 0 });
      const result = (value) => observe(() => value, { client })();
      process.on("unhandledRejection", ({ message }) => console.log(message));
      class Own extends Promise {}
      result(Promise.reject(new Error("plain")));
      result(Own.reject(new Error("own")));
      result(Own.reject(new Error("handled"))).catch(() => {});
      setTimeout(() => process.exit(), 100);`,
    ).done;
    assert.deepEqual([code, output], [0, "plain\nown"]);
  });

  test("a promise keeps its class, its methods and its properties", async () => {
    class Cancellable extends Promise {
      #cancelled = false;
      cancel() {
        this.#cancelled = true;
        return this;
      }
      get isCancelled() {
        return this.#cancelled;
      }
    }
    const original = Cancellable.resolve(1);
    const given = result(original);
    assert.ok(given instanceof Cancellable);
    assert.equal(given.constructor, Cancellable);
    given.cancel();
    assert.equal(given.isCancelled, true);
    assert.deepEqual([await given, await given, await given.then((value) => value + 1), await given.finally(() => {})], [1, 1, 2, 1]);
    const process = Object.assign(Promise.resolve("out"), { child: { pid: 7 } });
    await client();
    const run = observe(() => process, { name: "run" })();
    assert.deepEqual([run.child.pid, await run], [7, "out"]);
    const row = await rows();
    assert.equal(row.run.output, "out");
  });

  test("an eager promise that nobody awaits ends its observation", async () => {
    class Own extends Promise {}
    result(Own.resolve("unasked"));
    await new Promise(setImmediate);
    assert.deepEqual(await end(), [...COMPLETE, "unasked"]);
  });

  test("a thenable that starts when it is asked is started by the caller, and by nobody else", async () => {
    const query = { started: 0, then(resolve, reject) { this.started++; return Promise.resolve("rows").then(resolve, reject); } };
    const given = result(query);
    await new Promise(setImmediate);
    assert.deepEqual([query.started, await end()], [0, undefined]);
    assert.equal(await given, "rows");
    assert.deepEqual([query.started, given.started], [1, 1]);
    assert.deepEqual(await end(), [...COMPLETE, "rows"]);
  });

  test("a thenable with nothing but then", async () => {
    assert.equal(await result({ then: (resolve) => void resolve(1) }), 1);
    assert.deepEqual(await end(), [...COMPLETE, "1"]);
    await client();
    const error = new Error("no");
    const rejects = observe(() => ({ then: (_, reject) => void reject(error) }), { name: "rejected" });
    await assert.rejects(async () => rejects(), (rejected) => rejected === error);
    assert.equal((await rows()).rejected.level, "ERROR");
  });

  test("a frozen thenable", async () => {
    const frozen = Object.freeze({ then: (resolve) => resolve("frozen"), other: () => "kept" });
    const given = result(frozen);
    assert.equal(given.other(), "kept");
    assert.equal(await given, "frozen");
    assert.deepEqual(await end(), [...COMPLETE, "frozen"]);
  });

  test("a query that is built by methods, each of which gives it or another one", async () => {
    class Query {
      #parts;
      static started = 0;
      constructor(parts = []) { this.#parts = parts; }
      from(table) { this.#parts.push(table); return this; }
      where(filter) { return new Query([...this.#parts, filter]); }
      then(...handlers) { Query.started++; return Promise.resolve(this.#parts.join(" ")).then(...handlers); }
    }
    const query = result(new Query());
    assert.equal(query.from("users"), query);
    assert.equal(await query.where("id = 1"), "users id = 1");
    assert.equal(Query.started, 1);
    assert.deepEqual(await end(), [...COMPLETE, "users id = 1"]);
  });

  test("a function that can be awaited, as Workers RPC gives", async () => {
    const call = Object.assign(() => "called", { then: (...handlers) => Promise.resolve("value").then(...handlers), nested: () => "nested" });
    const given = result(call);
    assert.deepEqual([given(), given.nested(), await given], ["called", "nested", "value"]);
    assert.deepEqual(await end(), [...COMPLETE, "value"]);
  });

  test("a promise of a stream, of a generator, of a promise's promise ends when those do", async () => {
    const results = {
      stream: () => ReadableStream.from(["a", "b"]),
      generator: () => (function* () { yield* ["a", "b"]; })(),
      "async generator": () => (async function* () { yield* ["a", "b"]; })(),
      response: () => new Response("ab"),
    };
    for (const [name, make] of Object.entries(results)) {
      await client();
      const given = await observe(async () => Promise.resolve(make()), { name })();
      assert.equal((await rows())[name], undefined, name);
      const parts = await all(given.body ?? given);
      assert.equal(parts.map((part) => (typeof part === "string" ? part : text(part))).join(""), "ab");
      const row = (await rows())[name];
      assert.deepEqual(endOf(row), [...COMPLETE, name === "response" ? '{"status":200,"body":"ab"}' : "ab"]);
    }
  });

  test("a promise awaited twice gives the same twice", async () => {
    class Own extends Promise {
      then(...handlers) { return super.then(...handlers); }
    }
    for (const given of [result(Promise.resolve(new Response("x"))), result(Own.resolve(new Response("x")))]) {
      assert.equal(await given, await given);
    }
  });
});

describe("generators", () => {
  function* counts(to) {
    let sum = 0;
    for (let n = 1; n <= to; n++) sum += (yield n) ?? 0;
    return sum;
  }
  async function* later(to) {
    for (let n = 1; n <= to; n++) yield `${n} `;
  }

  test("a generator is the same object, takes what next is given, and ends with what it returned", async () => {
    const original = counts(2);
    const given = result(original);
    assert.equal(given, original);
    assert.equal(Object.prototype.toString.call(given), "[object Generator]");
    assert.deepEqual([given.next("ignored"), given.next(10), given.next(5), given.next()], [
      { value: 1, done: false },
      { value: 2, done: false },
      { value: 15, done: true },
      { value: undefined, done: true },
    ]);
    assert.deepEqual(await end(), [...COMPLETE, '{"parts":[1,2],"returned":15}']);
  });

  test("texts are joined, spread and yield* consume", async () => {
    assert.deepEqual([...result((function* () { yield* ["a", "b"]; })())], ["a", "b"]);
    assert.deepEqual(await end(), [...COMPLETE, "ab"]);
    await client();
    const inner = observe(() => later(2), { name: "inner" });
    assert.deepEqual(await all((async function* () { yield* inner(); })()), ["1 ", "2 "]);
    assert.equal((await rows()).inner.output, "1 2 ");
  });

  test("nothing runs before the first step, and a generator that is never asked stays open", async () => {
    let ran = false;
    const given = result((function* () { ran = true; yield 1; })());
    assert.deepEqual([ran, await end()], [false, undefined]);
    given.return();
    assert.deepEqual(await end(), [...STOPPED, null]);
  });

  test("break ends it with what was consumed, and its finally runs", async () => {
    let cleaned = 0;
    async function* endless() {
      try {
        for (let n = 0; ; n++) yield n;
      } finally {
        cleaned++;
      }
    }
    for await (const n of result(endless())) if (n === 2) break;
    assert.equal(cleaned, 1);
    assert.deepEqual(await end(), [...STOPPED, "[0,1,2]"]);
  });

  test("an error inside a loop over it is the loop's", async () => {
    await assert.rejects(async () => { for await (const _ of result(later(3))) boom(); }, /boom/);
    assert.deepEqual(await end(), [...STOPPED, "1 "]);
  });

  test("an error midway is thrown on, with the parts before it", async () => {
    const error = new Error("midway");
    const given = result((async function* () { yield "a"; throw error; })());
    await assert.rejects(all(given), (thrown) => thrown === error);
    assert.deepEqual(await end(), [...failedWith("midway"), "a"]);
  });

  test("throw() that the generator does not catch, and throw() that it does", async () => {
    const error = new Error("thrown in");
    const given = result(counts(3));
    given.next();
    assert.throws(() => given.throw(error), (thrown) => thrown === error);
    assert.deepEqual(await end(), [...failedWith("thrown in"), "[1]"]);
    await client();
    const catches = observe(function* () { try { yield 1; } catch { yield 2; } }, { name: "catches" })();
    catches.next();
    assert.deepEqual(catches.throw(error), { value: 2, done: false });
    assert.deepEqual(catches.next(), { value: undefined, done: true });
    assert.deepEqual(endOf((await rows()).catches), [...COMPLETE, "[1,2]"]);
  });

  test("steps that are asked for at once come in order", async () => {
    const given = result(later(2));
    const steps = await Promise.all([given.next(), given.next(), given.next()]);
    assert.deepEqual(steps.map(({ value }) => value), ["1 ", "2 ", undefined]);
    assert.deepEqual(await end(), [...COMPLETE, "1 2 "]);
  });

  test("ended twice is recorded once", async () => {
    const given = result(counts(1));
    [...given];
    given.return();
    given.return();
    assert.deepEqual(await end(), [...COMPLETE, '{"parts":[1],"returned":0}']);
  });

  test("a frozen generator is watched as well", async () => {
    const given = result(Object.freeze(counts(2)));
    assert.deepEqual([...given], [1, 2]);
    assert.deepEqual(await end(), [...COMPLETE, '{"parts":[1,2],"returned":0}']);
  });

  test("an iterator without return: a consumer that leaves is seen, and may come back", async () => {
    let n = 0;
    const endless = { next: () => ({ done: false, value: n++ }), [Symbol.iterator]() { return this; } };
    const given = result(endless);
    for (const value of given) if (value === 1) break;
    assert.deepEqual(await end(), [...STOPPED, "[0,1]"]);
    for (const value of given) if (value === 3) break;
    assert.equal(n, 4);
  });

  test("the observation is the current one in the body, step by step, whoever consumes", async () => {
    let ids;
    const given = observe(function* () {
      ids = [getActiveSpanId()];
      yield startObservation("first").end();
      ids.push(getActiveSpanId());
      yield startObservation("second").end();
    }, { name: "generator" })();
    startActiveObservation("consumer", () => {
      for (const _ of given) startObservation(`of the consumer ${ids.length}`).end();
    });
    const row = await rows();
    assert.deepEqual(ids, [row.generator.id, row.generator.id]);
    assert.deepEqual([row.first, row.second].map(({ parentObservationId }) => parentObservationId), ids);
    for (const name of ["of the consumer 1", "of the consumer 2"]) assert.equal(row[name].parentObservationId, row.consumer.id);
  });
});

describe("results that nobody wants any more", () => {
  test("end with what was consumed when they are collected", async (t) => {
    const script = startScript(
      t,
      `const { Langfuse, observe, setLangfuse } = await import("langfuse-edge");
      const langfuse = new Langfuse(${JSON.stringify(receiver().options)});
      setLangfuse(langfuse);
      const left = {
        generator: () => observe(function* generator() { yield "a"; yield "b"; })().next(),
        "async generator": () => observe(async function* () { yield "a"; yield "b"; }, { name: "async generator" })().next(),
        stream: () => observe(() => ReadableStream.from(["a", "b"]), { name: "stream" })().getReader().read(),
        response: () => observe(() => new Response(ReadableStream.from(["a", "b"].map((c) => new TextEncoder().encode(c)))), { name: "response" })().body.getReader().read(),
      };
      for (const leave of Object.values(left)) await leave();
      for (let n = 0; n < 100 && langfuse.stats().recorded < 4; n++) {
        gc();
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      console.log("collected", (await langfuse.flush()).delivered)`,
      {},
      { gc: true },
    );
    await script.line(/^collected 4$/);
    const row = await rows();
    for (const name of ["generator", "async generator", "stream"]) assert.deepEqual(endOf(row[name]), [...STOPPED, "a"]);
    assert.deepEqual(endOf(row.response), [...STOPPED, '{"status":200,"body":"a"}']);
  });

  test("are not ended while somebody may go on", async (t) => {
    const script = startScript(
      t,
      `const { Langfuse, observe, setLangfuse } = await import("langfuse-edge");
      const langfuse = new Langfuse(${JSON.stringify(receiver().options)});
      setLangfuse(langfuse);
      const generator = observe(function* () { yield "a"; yield "b"; }, { name: "generator" })();
      const response = observe(() => new Response(ReadableStream.from(["a", "b"].map((c) => new TextEncoder().encode(c)))), { name: "response" })();
      generator.next();
      for (let n = 0; n < 20; n++) {
        gc();
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      console.log(langfuse.stats().recorded, [...generator].join(), await response.text());
      console.log("recorded", langfuse.stats().recorded)`,
      {},
      { gc: true },
    );
    assert.deepEqual(await script.done, { code: 0, signal: null, output: "0 b ab\nrecorded 2" });
  });
});

describe("endOnExit: false", () => {
  test("leaves the end to the caller, and takes the output", async () => {
    let observation;
    await startActiveObservation("kept", async (own) => (observation = own), { endOnExit: false });
    assert.equal((await rows()).kept, undefined);
    observation.update({ output: "mine" }).end();
    assert.equal((await rows()).kept.output, "mine");
  });

  test("of a failure too", async () => {
    let observation;
    assert.throws(() => startActiveObservation("kept", (own) => { observation = own; boom(); }, { endOnExit: false }), /boom/);
    assert.equal((await rows()).kept, undefined);
    observation.end();
    assert.deepEqual(endOf((await rows()).kept), [...failedWith("boom"), null]);
  });
});

describe("a disabled client", () => {
  test("gives what the function gives, untouched", async () => {
    const langfuse = await client({ enabled: false });
    for (const value of [Promise.resolve(1), new Response("x"), ReadableStream.from([1]), (function* () {})()]) {
      assert.equal(observe(() => value)(), value);
    }
    assert.equal(langfuse.stats().recorded, 0);
  });
});
