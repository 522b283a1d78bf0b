// Open observations are bounded: what nobody ends is ended, says so, and takes no memory for ever.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Langfuse } from "langfuse-edge";

import { startScript } from "./support/program.mjs";
import { receiverFor } from "./support/receiver.mjs";

const TOO_MANY = "never ended: more than 10000 were open";
const TOO_LONG = "never ended: open for more than 1 h";

test("of more than 10,000 open observations the oldest is ended with a warning, and what is below it is recorded", async (t) => {
  const receiver = await receiverFor(t);
  const langfuse = new Langfuse(receiver.options);
  const kept = Array.from({ length: 10_001 }, (_, n) => langfuse.startObservation(`job ${n}`, { input: n }));
  const report = await langfuse.flush();
  assert.deepEqual([report.ok, report.delivered], [true, 1]);
  const [oldest] = await receiver.rows();
  assert.deepEqual([oldest.name, oldest.input, oldest.level, oldest.statusMessage], ["job 0", "0", "WARNING", TOO_MANY]);

  kept[0].update({ output: "late", level: "ERROR" }).end();
  const child = kept[0].startObservation("child");
  child.end();
  assert.equal((await langfuse.flush()).delivered, 2);
  const rows = await receiver.rows();
  const named = (name) => rows.find((row) => row.name === name);
  assert.deepEqual(named("job 0"), oldest, "ending it again does nothing");
  assert.deepEqual([named("child").parentObservationId, named("child").level], [oldest.id, "DEFAULT"]);
  assert.equal(named("job 1").statusMessage, TOO_MANY, "with the child, one too many was open again");
});

test("what is open for more than an hour is ended when a flush begins or another starts", async (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: Date.now() });
  const receiver = await receiverFor(t);
  const langfuse = new Langfuse(receiver.options);
  const pass = async (minutes) => {
    let delivered = 0;
    for (let passed = 0; passed < minutes; passed += 10) {
      t.mock.timers.tick(600_000);
      ({ delivered } = await langfuse.flush());
    }
    return delivered;
  };
  const kept = [langfuse.startObservation("first")];
  assert.equal(await pass(60), 0);
  kept.push(langfuse.startObservation("second"));
  t.mock.timers.tick(1);
  assert.equal((await langfuse.flush()).delivered, 1);
  const [first] = await receiver.rows();
  assert.deepEqual([first.name, first.level, first.statusMessage], ["first", "WARNING", TOO_LONG]);
  assert.equal(new Date(first.endTime).getTime(), Date.now(), "it ends when it is ended");

  assert.equal(await pass(50), 0);
  t.mock.timers.tick(600_001);
  kept.push(langfuse.startObservation("third"));
  assert.equal((await langfuse.flush()).delivered, 1);
  assert.deepEqual((await receiver.rows()).map(({ name }) => name).toSorted(), ["first", "second"]);
});

test("a clock that leaps or is set back makes nothing old", async (t) => {
  // Workers show 1970 outside of requests.
  let now = 0;
  t.mock.method(Date, "now", () => now);
  const receiver = await receiverFor(t);
  const langfuse = new Langfuse(receiver.options);
  const kept = [langfuse.startObservation("of the module")];
  for (const date of ["2026-11-20T12:00Z", "2026-11-21T12:00Z", "2026-11-19T12:00Z"]) {
    now = Date.parse(date);
    kept.push(langfuse.startObservation(date));
    assert.equal((await langfuse.flush()).delivered, 0, date);
  }
  for (const observation of kept) observation.end();
  assert.equal((await langfuse.flush()).delivered, 4);
  assert.ok((await receiver.rows()).every(({ level }) => level === "DEFAULT"));
});

test("a status message and the level ERROR stay when an observation is ended for its user", async (t) => {
  const receiver = await receiverFor(t);
  const langfuse = new Langfuse(receiver.options);
  const kept = [langfuse.startObservation("failed", { level: "ERROR", statusMessage: "quota exceeded" })];
  while (kept.length <= 10_000) kept.push(langfuse.startObservation("open"));
  await langfuse.flush();
  const [row] = await receiver.rows();
  assert.deepEqual([row.level, row.statusMessage], ["ERROR", `quota exceeded (${TOO_MANY})`]);
});

test("a million observations that start and end take no more memory than the first hundred thousand", async (t) => {
  const source = `
    let memory;
    WebAssembly.Instance = class extends WebAssembly.Instance {
      constructor(...args) {
        super(...args);
        memory = Object.values(this.exports).find((value) => value instanceof WebAssembly.Memory);
      }
    };
    const { Langfuse } = await import("langfuse-edge");
    const langfuse = new Langfuse({ publicKey: "pk-lf-x", secretKey: "sk-lf-x", baseUrl: "http://127.0.0.1:9" });
    console.warn = () => {};
    const open = langfuse.startObservation("stays open");
    const sizes = [];
    for (let n = 1; n <= 1_000_000; n++) {
      const observation = langfuse.startObservation("job", { input: "x" });
      observation.end();
      observation.free();
      if (n % 100_000 === 0) sizes.push(memory.buffer.byteLength);
    }
    open.end();
    console.log(JSON.stringify(sizes));`;
  const { code, output } = await startScript(t, source).done;
  assert.equal(code, 0, output);
  const sizes = JSON.parse(output);
  assert.equal(sizes.length, 10);
  assert.equal(Math.max(...sizes), sizes[0], `bytes of wasm memory: ${sizes.join(", ")}`);
});
