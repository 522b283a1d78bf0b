// What observed functions give, where it is a stream: iterables with more to them, web streams and responses.
import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { describe, test } from "node:test";

import { getActiveSpanId, observe, startObservation } from "langfuse-edge";

import { httpServerFor } from "./support/http-server.mjs";
import { COMPLETE, endOf, failedWith, STOPPED } from "./support/observed.mjs";
import { all, bytes, observedResults, text } from "./support/results.mjs";
import { until } from "./support/until.mjs";

const { client, end, result, rows } = observedResults();

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
