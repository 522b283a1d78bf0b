// What observed functions give, of every shape: the caller gets what it would have got, and the observation ends once, when
// the result is complete.
import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { describe, test } from "node:test";

import { getActiveSpanId, observe, startActiveObservation, startObservation } from "langfuse-edge";
import OpenAI, { APIPromise } from "openai";
import { Stream } from "openai/core/streaming";

import { httpServerFor } from "./support/http-server.mjs";
import { COMPLETE, deferred, endOf, failedWith, observed, STOPPED } from "./support/observed.mjs";
import { startScript } from "./support/program.mjs";
import { until } from "./support/until.mjs";

const { client, receiver, rows } = observed();

/** What `observe` makes of a function that gives this, called once. */
const result = (value, options) => observe(() => value, { name: "one", ...options })();

/** How the only observation ended; undefined while it is open. */
async function end() {
  const { one } = await rows();
  return one && endOf(one);
}

const boom = () => {
  throw new Error("boom");
};

async function all(iterable) {
  const parts = [];
  for await (const part of iterable) parts.push(part);
  return parts;
}

const text = (chunk) => new TextDecoder().decode(chunk);
const bytes = (text) => new TextEncoder().encode(text);

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

describe("async iterables with more to them", () => {
  class Chunks {
    #read = 0;
    constructor(...chunks) { this.chunks = chunks; }
    get read() { return this.#read; }
    async *[Symbol.asyncIterator]() {
      for (const chunk of this.chunks) {
        this.#read++;
        yield chunk;
      }
    }
    async text() { return (await all(this)).join(""); }
  }

  test("the object is the same, its methods work, and what they iterate counts", async () => {
    const original = new Chunks("a", "b");
    const given = result(original);
    assert.equal(given, original);
    assert.equal(await end(), undefined);
    assert.equal(await given.text(), "ab");
    assert.equal(given.read, 2);
    assert.deepEqual(await end(), [...COMPLETE, "ab"]);
  });

  test("a frozen one looks the same and is watched", async () => {
    const given = result(Object.freeze(new Chunks("a", "b", "c")));
    assert.ok(given instanceof Chunks);
    for await (const chunk of given) if (chunk === "b") break;
    assert.equal(given.read, 2);
    assert.deepEqual(await end(), [...STOPPED, "ab"]);
  });

  test("Node.js's streams: iterated, piped, destroyed, failed", async () => {
    const consumers = {
      iterated: [(stream) => all(stream), [...COMPLETE, "ab"]],
      piped: [(stream) => pipeline(stream, async function* (source) { yield* source; }, async (source) => void (await all(source))), [...COMPLETE, "ab"]],
      "left early": [async (stream) => { for await (const _ of stream) break; }, [...STOPPED, "a"]],
      destroyed: [(stream) => void stream.destroy(), [...STOPPED, null]],
      failed: [(stream) => assert.rejects(async () => { for await (const _ of stream) stream.destroy(new Error("broken")); }, /broken/), [...failedWith("broken"), "a"]],
    };
    for (const [name, [consume, expected]] of Object.entries(consumers)) {
      await client();
      const original = Readable.from(["a", "b"]);
      const given = observe(() => original, { name })();
      assert.equal(given, original);
      await consume(given);
      await new Promise(setImmediate);
      assert.deepEqual(endOf((await rows())[name]), expected, name);
    }
  });
});

describe("streams", () => {
  /** A stream of these chunks that counts what was asked of it. */
  function source(chunks, { type, highWaterMark = 0, fails } = {}) {
    const asked = { pulls: 0, cancelled: [] };
    const left = [...chunks];
    const stream = new ReadableStream({
      type,
      pull(controller) {
        asked.pulls++;
        if (left.length > 0) controller.enqueue(left.shift());
        else if (fails) controller.error(fails);
        else {
          controller.close();
          controller.byobRequest?.respond(0);
        }
      },
      cancel(reason) {
        asked.cancelled.push(reason);
      },
    }, { highWaterMark });
    return { stream, asked };
  }

  test("a stream hands on its chunks, the same objects in the same order, and ends when they are read", async () => {
    const chunks = [{ n: 1 }, { n: 2 }];
    const given = result(source(chunks).stream);
    assert.ok(given instanceof ReadableStream);
    const got = await all(given);
    assert.deepEqual(got, chunks);
    assert.ok(got.every((chunk, n) => chunk === chunks[n]));
    assert.deepEqual(await end(), [...COMPLETE, '[{"n":1},{"n":2}]']);
  });

  test("nothing is read ahead of the consumer", async () => {
    for (const type of [undefined, "bytes"]) {
      const { stream, asked } = source([bytes("a"), bytes("b"), bytes("c")], { type });
      const given = result(stream);
      await new Promise(setImmediate);
      assert.equal(asked.pulls, 0);
      const reader = given.getReader();
      await reader.read();
      await new Promise(setImmediate);
      assert.equal(asked.pulls, 1);
      await reader.read();
      await new Promise(setImmediate);
      assert.equal(asked.pulls, 2);
      assert.equal(stream.locked, true);
    }
  });

  test("nobody has to read it: until then it is as it was", () => {
    const { stream } = source(["a"]);
    result(stream);
    assert.equal(stream.locked, false);
  });

  test("cancel reaches the source with its reason, before, between and after reads", async () => {
    for (const reads of [0, 1]) {
      for (const type of [undefined, "bytes"]) {
        const name = `${type} after ${reads}`;
        await client();
        const { stream, asked } = source([bytes("a"), bytes("b")], { type });
        const reader = observe(() => stream, { name })().getReader();
        for (let n = 0; n < reads; n++) await reader.read();
        await reader.cancel("enough");
        await reader.cancel("again");
        assert.deepEqual(asked.cancelled, ["enough"]);
        assert.deepEqual(endOf((await rows())[name]), [...STOPPED, reads ? "a" : null]);
      }
    }
  });

  test("an error midway is the reader's, the same value, when it comes", async () => {
    for (const fails of [new Error("midway"), "a text"]) {
      await client();
      const name = String(fails);
      const { stream } = source(["a"], { fails });
      const reader = observe(() => stream, { name })().getReader();
      assert.deepEqual(await reader.read(), { value: "a", done: false });
      await assert.rejects(reader.read(), (error) => error === fails);
      await assert.rejects(reader.closed, (error) => error === fails);
      assert.deepEqual(endOf((await rows())[name]), [...failedWith(fails.message ?? fails), "a"]);
    }
  });

  test("an error before anybody reads", async () => {
    const error = new Error("at once");
    const given = result(new ReadableStream({ start: (controller) => controller.error(error) }));
    await assert.rejects(given.getReader().read(), (rejected) => rejected === error);
    assert.deepEqual(await end(), [...failedWith("at once"), '{"error":"Error: at once"}']);
  });

  test("pipeThrough, pipeTo, tee and Response consume it", async () => {
    const consumers = {
      pipeThrough: async (stream) => all(stream.pipeThrough(new TextDecoderStream())),
      pipeTo: async (stream) => {
        const got = [];
        await stream.pipeTo(new WritableStream({ write: (chunk) => void got.push(text(chunk)) }));
        return got;
      },
      tee: async (stream) => {
        const [left, right] = stream.tee();
        const [a, b] = await Promise.all([all(left), all(right)]);
        assert.deepEqual(a, b);
        return a.map(text);
      },
      Response: async (stream) => [await new Response(stream).text()],
    };
    for (const type of [undefined, "bytes"]) {
      for (const [name, consume] of Object.entries(consumers)) {
        await client();
        const { stream } = source([bytes("a"), bytes("b")], { type });
        const got = await consume(observe(() => stream, { name: `${name} ${type}` })());
        assert.equal(got.join(""), "ab");
        assert.deepEqual(endOf((await rows())[`${name} ${type}`]), [...COMPLETE, "ab"]);
      }
    }
  });

  test("a pipe whose reader is gone, and one that is aborted", async () => {
    const gone = new Error("gone");
    const pipes = {
      gone: (stream) => stream.pipeTo(new WritableStream({ write() { throw gone; } })),
      aborted: (stream) => {
        const abort = new AbortController();
        const piped = stream.pipeTo(new WritableStream({ write: () => abort.abort(gone) }), { signal: abort.signal });
        return piped;
      },
    };
    for (const [name, pipe] of Object.entries(pipes)) {
      await client();
      const { stream, asked } = source(["a", "b", "c"]);
      await assert.rejects(pipe(observe(() => stream, { name })()), (error) => error === gone);
      assert.deepEqual(asked.cancelled, [gone]);
      const [level, message, output] = endOf((await rows())[name]);
      assert.deepEqual([level, message], STOPPED);
      assert.match(output, /^ab?$/);
    }
  });

  test("readers bring buffers of their own, which the source fills", async () => {
    const sizes = [];
    const left = ["abcd", "ef"].map(bytes);
    const stream = new ReadableStream({
      type: "bytes",
      pull(controller) {
        const { view } = controller.byobRequest;
        sizes.push(view.byteLength);
        const chunk = left.shift();
        if (chunk) {
          new Uint8Array(view.buffer, view.byteOffset).set(chunk);
          controller.byobRequest.respond(chunk.byteLength);
        } else {
          controller.close();
          controller.byobRequest.respond(0);
        }
      },
    });
    const reader = result(stream).getReader({ mode: "byob" });
    let buffer = new ArrayBuffer(8);
    let got = "";
    for (;;) {
      const { value, done } = await reader.read(new Uint8Array(buffer, 0, 8));
      if (done) break;
      got += text(value);
      buffer = value.buffer;
    }
    assert.equal(got, "abcdef");
    assert.deepEqual(sizes, [8, 8, 8]);
    assert.deepEqual(await end(), [...COMPLETE, "abcdef"]);
  });

  test("a buffer smaller than what the source has gets the rest next", async () => {
    const { stream } = source([bytes("abcdef")], { type: "bytes" });
    const reader = result(stream).getReader({ mode: "byob" });
    const got = [];
    for (let step; !(step = await reader.read(new Uint8Array(4))).done; ) got.push(text(step.value));
    assert.deepEqual(got, ["abcd", "ef"]);
    assert.deepEqual(await end(), [...COMPLETE, "abcdef"]);
  });

  test("a reader of buffers after one of chunks", async () => {
    const { stream } = source([bytes("ab"), bytes("cd")], { type: "bytes" });
    const given = result(stream);
    const first = given.getReader();
    assert.equal(text((await first.read()).value), "ab");
    first.releaseLock();
    const second = given.getReader({ mode: "byob" });
    assert.equal(text((await second.read(new Uint8Array(2))).value), "cd");
    second.releaseLock();
    assert.deepEqual(await all(given), []);
    assert.deepEqual(await end(), [...COMPLETE, "abcd"]);
  });

  test("a stream that is locked already is given as it is", async () => {
    const { stream } = source(["a"]);
    stream.getReader();
    assert.equal(result(stream), stream);
    assert.deepEqual(await end(), [...COMPLETE, null]);
  });

  test("a class of its own and properties of its own are kept", async () => {
    class Events extends ReadableStream {
      async texts() { return (await all(this)).join(); }
    }
    const stream = Object.assign(new Events({ start(c) { c.enqueue("a"); c.enqueue("b"); c.close(); } }), { allReady: "ready" });
    const given = result(stream);
    assert.ok(given instanceof Events);
    assert.deepEqual([given.allReady, await given.texts()], ["ready", "a,b"]);
    assert.deepEqual(await end(), [...COMPLETE, "ab"]);
  });

  test("the observation is the current one while the source is read", async () => {
    let stream, id;
    const given = observe(() => {
      id = getActiveSpanId();
      return (stream = new ReadableStream({ pull(c) { startObservation("pulled").end(); c.close(); } }, { highWaterMark: 0 }));
    }, { name: "one" })();
    await all(given);
    assert.ok(stream);
    assert.equal((await rows()).pulled.parentObservationId, id);
  });

  test("10,001 parts are handed on, 10,000 of them kept and the rest counted", async () => {
    let n = 0;
    const { stream } = { stream: new ReadableStream({ pull: (c) => (n < 10_001 ? c.enqueue(n++) : c.close()) }) };
    assert.equal((await all(result(stream))).length, 10_001);
    const { one } = await rows();
    const output = JSON.parse(one.output);
    assert.deepEqual([output.length, output[9_999], output[10_000]], [10_001, 9_999, "…[1 more parts]"]);
  });

  test("of a huge text a million characters are kept, and of bytes that are no text nothing but their number", async () => {
    const chunk = "x".repeat(100_000);
    let n = 0;
    const endless = () => new ReadableStream({ pull: (c) => (n++ < 50 ? c.enqueue(bytes(chunk)) : c.close()) });
    for await (const _ of result(endless()));
    const { output } = (await rows()).one;
    assert.equal(output, `${"x".repeat(1_000_000)}…[40 more parts]`);
    await client();
    const image = () => ReadableStream.from([bytes("text first"), new Uint8Array([0xff, 0xd8, 0xff]), new Uint8Array(1000)]);
    for await (const _ of observe(image, { name: "image" })());
    assert.equal((await rows()).image.output, "[1013 bytes]");
  });

  test("a character that is cut in two by the chunks", async () => {
    const [a, b, c] = bytes("€");
    for await (const _ of result(ReadableStream.from([new Uint8Array([a]), new Uint8Array([b, c])])));
    assert.deepEqual(await end(), [...COMPLETE, "€"]);
  });
});

describe("responses", () => {
  const streaming = (chunks = ["a", "b"], init) => {
    const left = chunks.map(bytes);
    return new Response(new ReadableStream({ pull: (c) => (left.length ? c.enqueue(left.shift()) : c.close()) }), init);
  };

  test("status, headers and body are the response's, and the observation ends with the body", async () => {
    const given = result(streaming(["a", "b"], { status: 201, statusText: "Made", headers: { "x-own": "1", "content-type": "text/plain" } }));
    assert.ok(given instanceof Response);
    assert.deepEqual([given.status, given.statusText, given.ok, given.headers.get("x-own"), given.bodyUsed], [201, "Made", true, "1", false]);
    assert.equal(await end(), undefined);
    assert.equal(await given.text(), "ab");
    assert.equal(given.bodyUsed, true);
    await assert.rejects(given.text(), TypeError);
    assert.deepEqual(await end(), [...COMPLETE, '{"status":201,"body":"ab"}']);
  });

  test("each way to read it", async () => {
    for (const [read, expected] of [["json", { a: 1 }], ["arrayBuffer", bytes('{"a":1}').buffer], ["blob", undefined], ["bytes", undefined]]) {
      const response = streaming(['{"a"', ":1}"]);
      if (!response[read]) continue;
      await client();
      const got = await observe(async () => response, { name: read })().then((response) => response[read]());
      if (expected) assert.deepEqual(got, expected);
      assert.equal((await rows())[read].output, '{"status":200,"body":"{\\"a\\":1}"}');
    }
  });

  test("a clone, and both read", async () => {
    const given = result(streaming());
    const copy = given.clone();
    assert.deepEqual([await copy.text(), await given.text()], ["ab", "ab"]);
    assert.deepEqual(await end(), [...COMPLETE, '{"status":200,"body":"ab"}']);
  });

  test("what came from the network keeps its address", async (t) => {
    const server = await httpServerFor(t, (_, response) => response.writeHead(200, { "set-cookie": ["a=1", "b=2"] }).end("hello"));
    // Of Bun, they are of the type default.
    const { type } = await fetch(server.url);
    const given = await result(fetch(`${server.url}/path?q`));
    for (const response of [given, given.clone()]) {
      assert.deepEqual([response.url, response.type, response.redirected], [`${server.url}/path?q`, type, false]);
      assert.deepEqual(response.headers.getSetCookie(), ["a=1", "b=2"]);
      assert.equal(await response.text(), "hello");
    }
  });

  test("without a body, with one that was read, or that somebody reads, it is given as it is", async () => {
    const used = new Response("used");
    await used.text();
    const locked = streaming();
    locked.body.getReader();
    const responses = [new Response(null, { status: 204 }), Response.redirect("http://x.test/", 302), Response.error(), used, locked];
    for (const response of responses) {
      await client();
      const name = `status ${response.status} ${response.bodyUsed} ${response.body?.locked}`;
      assert.equal(observe(() => response, { name })(), response);
      assert.deepEqual(endOf((await rows())[name]), [...COMPLETE, `{"status":${response.status}}`]);
    }
  });

  test("a class of its own", async () => {
    class Page extends Response {
      get title() { return this.headers.get("x-title"); }
    }
    const given = result(new Page("body", { headers: { "x-title": "t" } }));
    assert.ok(given instanceof Page);
    assert.deepEqual([given.title, await given.text()], ["t", "body"]);
  });

  test("a body that fails, and one that nobody wants", async () => {
    const broken = new Response(new ReadableStream({ start: (c) => { c.enqueue(bytes("a")); }, pull: (c) => c.error(new Error("broken")) }, { highWaterMark: 0 }));
    await assert.rejects(result(broken).text(), /broken/);
    assert.deepEqual(await end(), [...failedWith("broken"), '{"status":200,"body":"a"}']);
    await client();
    await observe(() => streaming(), { name: "unwanted" })().body.cancel();
    assert.deepEqual(endOf((await rows()).unwanted), [...STOPPED, '{"status":200}']);
  });
});

describe("OpenAI's client", () => {
  const chunk = (content) => `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", choices: [{ index: 0, delta: { role: "assistant", content } }] })}\n\n`;
  const completion = { id: "c", object: "chat.completion", choices: [{ index: 0, message: { role: "assistant", content: "whole" } }] };

  const last = `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })}\n\n`;

  /** A client against a server that streams `contents`, in the way that `finish` ends. */
  async function openAI(t, contents = ["a", "b", "c"], finish = (response) => response.end(`${last}data: [DONE]\n\n`)) {
    const server = await httpServerFor(t, (request, response) => {
      if (request.url.includes("fails")) return response.writeHead(418).end('{"error":{"message":"teapot"}}');
      if (request.url.includes("whole")) return response.writeHead(200, { "content-type": "application/json", "x-request-id": "r1" }).end(JSON.stringify(completion));
      response.writeHead(200, { "content-type": "text/event-stream", "x-request-id": "r1" });
      for (const content of contents) response.write(chunk(content));
      finish(response);
    });
    const at = (path) => new OpenAI({ apiKey: "k", baseURL: `${server.url}/${path}`, maxRetries: 0 });
    const create = (path, stream) => at(path).chat.completions.create({ model: "m", messages: [], stream });
    return {
      server,
      stream: observe(() => create("stream", true), { name: "one" }),
      whole: observe(() => create("whole", false), { name: "one" }),
      fails: observe(() => create("fails", false), { name: "one" }),
      helper: observe(() => at("stream").chat.completions.stream({ model: "m", messages: [] }), { name: "one" }),
    };
  }
  const contents = (chunks) => chunks.map(({ choices }) => choices[0].delta.content ?? "").join("");
  const outputOf = async () => {
    const { level, output } = (await rows()).one ?? {};
    return output && [level, contents(JSON.parse(output))];
  };

  test("its promise keeps its class and its helpers; one request is made", async (t) => {
    const { whole, server } = await openAI(t);
    const given = whole();
    assert.ok(given instanceof APIPromise);
    const { data, response, request_id } = await given.withResponse();
    assert.deepEqual([data.choices[0].message.content, response.status, request_id], ["whole", 200, "r1"]);
    assert.equal((await given).choices[0].message.content, "whole");
    assert.equal(server.counts.requests, 1);
    const { one } = await rows();
    assert.equal(JSON.parse(one.output).choices[0].message.content, "whole");
  });

  test("asResponse gives the response, unread", async (t) => {
    const { whole } = await openAI(t);
    const given = whole();
    const response = await given.asResponse();
    assert.ok(response instanceof Response);
    assert.equal(response.headers.get("x-request-id"), "r1");
    assert.equal(await end(), undefined);
    assert.deepEqual(await response.json(), completion);
    const [level, , output] = await end();
    assert.deepEqual([level, JSON.parse(JSON.parse(output).body)], ["DEFAULT", completion]);
  });

  test("asResponse for a look at the headers, and then the value", async (t) => {
    const { whole } = await openAI(t);
    const given = whole();
    assert.equal((await given.asResponse()).status, 200);
    assert.equal((await given).choices[0].message.content, "whole");
    assert.equal((await end())[0], "DEFAULT");
  });

  test("an error is the SDK's own", async (t) => {
    const { fails } = await openAI(t);
    await assert.rejects(fails(), (error) => error instanceof OpenAI.APIError && error.status === 418);
    assert.deepEqual((await end()).slice(0, 2), failedWith("418 teapot"));
    await client();
    await assert.rejects(fails().withResponse(), OpenAI.APIError);
    const rejected = await fails().catch((error) => error.status);
    assert.equal(rejected, 418);
  });

  test("its stream is the SDK's, and is consumed to its end", async (t) => {
    const { stream } = await openAI(t);
    const given = await stream();
    assert.ok(given instanceof Stream);
    assert.ok(given.controller instanceof AbortController);
    assert.equal(await outputOf(), undefined);
    assert.equal(contents(await all(given)), "abc");
    assert.deepEqual(await outputOf(), ["DEFAULT", "abc"]);
    await assert.rejects(all(given), /consumed/);
  });

  test("its stream beside its response", async (t) => {
    const { stream } = await openAI(t);
    const { data, response } = await stream().withResponse();
    assert.equal(response.headers.get("x-request-id"), "r1");
    assert.equal(contents(await all(data)), "abc");
    assert.deepEqual(await outputOf(), ["DEFAULT", "abc"]);
  });

  test("its stream left early, and the connection with it", async (t) => {
    const { stream, server } = await openAI(t, ["a", "b"], () => {});
    for await (const _ of await stream()) break;
    assert.deepEqual(await outputOf(), ["WARNING", "a"]);
    await until(async () => (await server.open()) <= 1);
  });

  test("its stream aborted through its controller, between chunks and while one is awaited", async (t) => {
    const { stream } = await openAI(t, ["a", "b"], () => {});
    const between = await stream();
    await between[Symbol.asyncIterator]().next();
    between.controller.abort();
    assert.deepEqual(await outputOf(), ["WARNING", "a"]);
    await client();
    const awaited = await stream();
    let got = "";
    for await (const part of awaited) {
      got += contents([part]);
      if (got === "ab") setImmediate(() => awaited.controller.abort());
    }
    assert.equal(got, "ab");
    assert.deepEqual(await outputOf(), ["WARNING", "ab"]);
  });

  test("its stream as a ReadableStream", async (t) => {
    const { stream } = await openAI(t);
    const lines = (await new Response((await stream()).toReadableStream()).text()).trim().split("\n");
    assert.equal(contents(lines.map((line) => JSON.parse(line))), "abc");
    assert.deepEqual(await outputOf(), ["DEFAULT", "abc"]);
  });

  test("its stream in two", async (t) => {
    const { stream } = await openAI(t);
    const [left, right] = (await stream()).tee();
    assert.deepEqual((await Promise.all([all(left), all(right)])).map(contents), ["abc", "abc"]);
    assert.deepEqual(await outputOf(), ["DEFAULT", "abc"]);
  });

  test("its stream cut off by the server", async (t) => {
    const { stream } = await openAI(t, ["a"], (response) => setTimeout(() => response.destroy(), 20));
    await assert.rejects(async () => all(await stream()));
    assert.deepEqual(await outputOf(), ["ERROR", "a"]);
  });

  test("the helper that hands on events, without anybody iterating", async (t) => {
    const { helper } = await openAI(t);
    const given = helper();
    const seen = [];
    given.on("content", (delta) => seen.push(delta));
    assert.equal((await given.finalChatCompletion()).choices[0].message.content, "abc");
    assert.equal(seen.join(""), "abc");
    assert.deepEqual(await outputOf(), ["DEFAULT", "abc"]);
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
