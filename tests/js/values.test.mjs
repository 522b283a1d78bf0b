// Any value has a text, as it arrives: values that cannot be recorded as they are, and texts of any script and length.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Langfuse } from "langfuse-edge";

import { ownMetadata, receiver, recorded, recordedOne } from "./support/recorded.mjs";

const MIB = 1024 * 1024;

const circular = { name: "circular" };
circular.self = circular;
const boom = () => {
  throw new Error("boom");
};
class Custom {
  secret = undefined;
  #hidden = 1;
  shown = this.#hidden;
}
const texts = {
  circular: [circular, '{"name":"circular","self":"[Circular]"}'],
  bigint: [12345678901234567890n, "12345678901234567890"],
  "an object with a bigint": [{ a: 1n }, '{"a":"1"}'],
  "a getter that throws": [{ get a() { return boom(); }, b: 1 }, '{"a":"[boom]","b":1}'],
  "toJSON that throws": [{ toJSON: boom }, '"[boom]"'],
  "toJSON, which counts": [{ toJSON: () => ({ a: 1 }), b: 2 }, '{"a":1}'],
  "a function": [function named() {}, "[Function: named]"],
  "a list of functions": [[() => 1], '["[Function: anonymous]"]'],
  "a symbol": [Symbol("s"), "Symbol(s)"],
  "an error": [Object.assign(new TypeError("no", { cause: new Error("why") }), { code: 7 }), '{"code":7,"name":"TypeError","message":"no","cause":{"name":"Error","message":"why"}}'],
  "a date": [new Date(0), '"1970-01-01T00:00:00.000Z"'],
  "a date that is none": [new Date(NaN), "null"],
  "a map with names": [new Map([["a", new Map([["b", 1]])]]), '{"a":{"b":1}}'],
  "a map with other keys": [new Map([[1, "a"]]), '[[1,"a"]]'],
  "a set": [new Set([1, "a"]), '[1,"a"]'],
  "bytes": [new Uint8Array(1000), '"[Uint8Array: 1000 bytes]"'],
  "a buffer": [{ body: Buffer.alloc(5) }, '{"body":"[Buffer: 5 bytes]"}'],
  "an array buffer": [new ArrayBuffer(3), '"[ArrayBuffer: 3 bytes]"'],
  "a regexp": [{ a: /x/ }, '{"a":{}}'],
  "an object of a class": [new Custom(), '{"shown":1}'],
  "a proxy that throws": [new Proxy({}, { get: boom, ownKeys: boom, getOwnPropertyDescriptor: boom, has: boom }), "[not serializable]"],
  "numbers that JSON does not have": [[NaN, Infinity, -0], "[null,null,0]"],
  "a boolean": [false, "false"],
};
for (const [what, [value, text]] of Object.entries(texts)) {
  test(`${what} as input, output or a metadata value`, async () => {
    const { otlpAttributes } = await recordedOne({ input: value, output: value, metadata: { value, other: "kept" } });
    const sent = Object.fromEntries(otlpAttributes.map(({ key, value }) => [key, value.stringValue]));
    assert.equal(sent["langfuse.observation.input"], text);
    assert.equal(sent["langfuse.observation.output"], text);
    assert.equal(sent["langfuse.observation.metadata.value"], text);
    assert.equal(sent["langfuse.observation.metadata.other"], "kept");
  });
}

test("a list of a million is cut and says how much is gone, in a set and in a map as well", async () => {
  const ones = Array(1_000_000).fill(1);
  const numbers = new Set(ones.keys());
  for (const large of [ones, numbers, new Map(ones.entries()), new Map(ones.map((_, n) => [`n${n}`, n]))]) {
    await receiver.reset();
    const { input } = await recordedOne({ input: { large } });
    const list = JSON.parse(input).large;
    assert.deepEqual([list.length, list.at(-1)], [10_001, "…[990000 more elements]"]);
  }
});

test("objects of a class in a map and in a set, and toJSON of a class", async () => {
  class Money {
    constructor(cents) { this.cents = cents; }
    toJSON() { return `${this.cents / 100} EUR`; }
  }
  class Point { x = 1; get y() { return 2; } }
  const circle = { money: new Money(150) };
  circle.self = circle;
  const { input } = await recordedOne({ input: [new Map([["p", new Point()]]), new Set([new Money(250)]), new Money(1)] });
  assert.equal(input, '[{"p":{"x":1}},["2.5 EUR"],"0.01 EUR"]');
  await receiver.reset();
  assert.equal((await recordedOne({ input: circle })).input, '{"money":"1.5 EUR","self":"[Circular]"}');
});

test("objects that refer to each other in more ways than can be written down take no time", () => {
  const langfuse = new Langfuse(receiver.options);
  const friends = Array.from({ length: 30 }, (_, n) => ({ n }));
  for (const friend of friends) friend.friends = friends;
  let doubled = {};
  for (let level = 0; level < 60; level++) doubled = { left: doubled, right: doubled };
  for (const input of [friends, doubled]) {
    const start = performance.now();
    langfuse.startObservation("tangled", { input }).end();
    assert.ok(performance.now() - start < 2000, `${performance.now() - start} ms`);
  }
});

test("an object as deep as the stack does not throw", async () => {
  let deep = {};
  for (let level = 0; level < 100_000; level++) deep = { deep };
  const { input } = await recordedOne({ input: deep });
  assert.match(input, /too deep|not serializable/);
});

test("a getter that throws hides its own attribute only", async () => {
  const attributes = { get input() { return boom(); }, output: "kept", get level() { return boom(); }, get prompt() { return boom(); } };
  const row = await recordedOne(attributes, { get asType() { return boom(); }, get startTime() { return boom(); } });
  assert.deepEqual([row.input, row.output, row.type], [null, "kept", "SPAN"]);
  await receiver.reset();
  const proxy = new Proxy({}, { get: boom, ownKeys: boom, has: boom });
  assert.equal((await recordedOne(proxy, proxy)).name, "one");
});

test("texts of any script arrive whole, beside each other and beside numbers", async () => {
  const texts = ["", "a", "7:", "é", "漢字", "😀", "a😀é漢", "|1:i", "\0\n", "👩‍👩‍👧"];
  for (const [n, text] of texts.entries()) {
    await receiver.reset();
    const other = texts.at(n - 1);
    const attributes = { input: text, output: other, model: text, statusMessage: other, metadata: { [text || "empty"]: other, last: text } };
    const [row] = await recorded((langfuse) => {
      langfuse.startObservation(text, attributes, { asType: "generation" }).end();
    });
    const said = Object.fromEntries(row.otlpAttributes.map(({ key, value }) => [key, value.stringValue]));
    assert.deepEqual([row.name, said["langfuse.observation.input"], said["langfuse.observation.output"]], [text, text, other]);
    assert.deepEqual([said["langfuse.observation.model.name"], said["langfuse.observation.status_message"]], [text, other]);
    assert.deepEqual([said[`langfuse.observation.metadata.${text || "empty"}`], said["langfuse.observation.metadata.last"]], [other, text]);
  }
});

test("lone surrogates become replacement characters", async () => {
  const lone = "a\ud800b";
  const attributes = { input: lone, output: { lone }, model: lone, statusMessage: lone, metadata: { lone, [lone]: 1 } };
  const [row] = await recorded((langfuse) => langfuse.startObservation(lone, attributes).end());
  assert.deepEqual([row.name, row.input], ["a\ufffdb", "a\ufffdb"]);
  assert.equal(row.output, '{"lone":"a\\ud800b"}');
  assert.deepEqual([row.providedModelName, row.statusMessage], ["a\ufffdb", "a\ufffdb"]);
  assert.deepEqual(ownMetadata(row), { lone: "a\ufffdb", "a\ufffdb": "1" });
});

test("2 MiB of text are cut to 1 MiB at a character boundary, and say so", async () => {
  const row = await recordedOne({ input: "x".repeat(2 * MIB), output: "x" + "é".repeat(MIB) });
  assert.equal(row.input, `${"x".repeat(MIB)}…[truncated ${MIB} bytes]`);
  assert.equal(row.output, `x${"é".repeat(MIB / 2 - 1)}…[truncated ${MIB + 2} bytes]`);
  await receiver.reset();
  const { metadata } = await recordedOne({ metadata: { large: "x".repeat(2 * MIB), small: "s" } });
  assert.equal(metadata.large, `${"x".repeat(MIB)}…[truncated ${MIB} bytes]`);
  assert.equal(metadata.small, "s");
});

test("a record that the server finds too large is reported, and the others arrive", async () => {
  const langfuse = new Langfuse(receiver.options);
  await receiver.fault({ maxBodyBytes: 5_000_000 });
  const metadata = Object.fromEntries(Array.from({ length: 6 }, (_, n) => [`m${n}`, "x".repeat(MIB)]));
  const large = langfuse.startObservation("large", { metadata });
  large.end();
  langfuse.startObservation("small").end();
  const report = await langfuse.flush();
  assert.deepEqual([report.ok, report.delivered, report.dropped], [false, 1, 0]);
  assert.deepEqual(report.rejected.map(({ id, status }) => [id, status]), [[large.id, 413]]);
  assert.deepEqual((await receiver.rows()).map(({ name }) => name), ["small"]);
});
