// LlamaIndex in workerd.
import assert from "node:assert/strict";
import { test } from "node:test";

import { supportedCompatibilityDate as NEWEST } from "miniflare";

import { asksForWeather, openaiServerFor, treeOfAgent } from "./support/llamaindex.mjs";
import { endOf, failedWith } from "./support/observed.mjs";
import { receiverFor } from "./support/receiver.mjs";
import { until } from "./support/until.mjs";
import { bundle, isComplaint, workersFor } from "./support/workerd.mjs";

const ENTRY = new URL("workerd/llamaindex.mjs", import.meta.url);
/** What LlamaIndex calls its own files by when it starts, which a bundled Worker has not. */
const DEFINE = { "import.meta.url": '"file:///worker.mjs"' };
const COMPATIBILITY = { compatibilityDate: NEWEST, compatibilityFlags: ["nodejs_compat"] };

/** A model that asks for the weather before it answers, and says back what it was told. */
function answerTo({ messages, stream, tools }) {
  const { role, content } = messages.at(-1);
  const text = typeof content === "string" ? content : content.map(({ text }) => text).join("");
  if (text === "fail") return 400;
  if (tools && role === "user") return asksForWeather;
  const answer = `to ${text}`;
  return stream ? [answer] : answer;
}

test("LlamaIndex in workerd", async (t) => {
  const receiver = await receiverFor(t);
  const llm = await openaiServerFor(t, answerTo);
  const options = { type: "ESModule", path: "options.mjs", contents: `export default ${JSON.stringify({ client: receiver.options, llm })}` };
  const modules = await bundle(ENTRY, ["./options.mjs"], DEFINE);
  const { url, lines } = await workersFor(t, COMPATIBILITY, [{ modules: [...modules, options] }]);
  const call = async (what, name) => (await fetch(new URL(`${what}?${new URLSearchParams({ name })}`, url), { signal: AbortSignal.timeout(20_000) })).text();
  /** The observations of a trace, by its root's name, as soon as so many are there: nobody flushes but the Worker. */
  const trace = (name, count) =>
    until(async () => {
      const rows = await receiver.rows();
      const root = rows.find((row) => row.name === name && !row.parentObservationId);
      const all = rows.filter(({ traceId }) => traceId === root?.traceId);
      return all.length >= count && all;
    });

  await t.test("a chat and a stream are generations below the step that asks", async () => {
    for (const what of ["chat", "stream"]) {
      assert.equal(await call(what, `a ${what}`), `to a ${what}`);
      const [first, second] = await trace(`a ${what}`, 2);
      const [root, chat] = first.name === "llm.chat" ? [second, first] : [first, second];
      assert.deepEqual([chat.type, chat.parentObservationId, chat.providedModelName], ["GENERATION", root.id, "gpt-4o-mini-0718"]);
      assert.deepEqual(JSON.parse(chat.output), { role: "assistant", content: `to a ${what}` });
      assert.deepEqual(chat.usageDetails, { input: 9, output: 2, total: 11 });
    }
  });

  await t.test("a workflow is its steps", async () => {
    assert.equal(await call("workflow", "a workflow"), "to a workflow");
    const rows = await trace("a workflow", 3);
    const named = (name) => rows.find((row) => row.name === name);
    assert.equal(named("llm.chat").parentObservationId, named("question").id);
    assert.equal(named("question").parentObservationId, named("a workflow").id);
  });

  await t.test("an agent is its steps, its calls and its tools", async () => {
    await receiver.reset();
    assert.equal(await call("agent", "an agent"), "to rain in Oslo");
    await trace("an agent", 13);
    assert.equal(await receiver.trees(), treeOfAgent("an agent"));
  });

  await t.test("a call that fails ends its agent's run, and all of it says so", async () => {
    assert.equal(await call("fails", "a failure"), "400 no");
    const rows = await trace("a failure", 5);
    for (const name of ["a failure", "runAgentStep", "llm.chat"]) {
      assert.deepEqual(endOf(rows.find((row) => row.name === name)).slice(0, 2), failedWith("400 no"), name);
    }
  });

  await t.test("requests at the same time do not mix", async () => {
    const names = ["chat", "stream", "workflow", "agent"].flatMap((what) => Array.from({ length: 5 }, (_, n) => `${what} ${n}`));
    await Promise.all(names.map((name) => call(name.split(" ")[0], name)));
    const sizes = { chat: 2, stream: 2, workflow: 3, agent: 13 };
    for (const name of names) {
      const rows = await trace(name, sizes[name.split(" ")[0]]);
      assert.equal(rows.length, sizes[name.split(" ")[0]], name);
      const [chat] = rows.filter((row) => row.name === "llm.chat");
      assert.ok(chat.input.includes(name), `${name}: ${chat.input}`);
    }
  });

  assert.deepEqual(lines.filter(isComplaint), []);
});

test("without import.meta.url LlamaIndex does not start: docs/llamaindex.md says what to define", async (t) => {
  const options = { type: "ESModule", path: "options.mjs", contents: `export default ${JSON.stringify({ client: { enabled: false } })}` };
  const modules = await bundle(ENTRY, ["./options.mjs"]);
  await assert.rejects(workersFor(t, COMPATIBILITY, [{ modules: [...modules, options] }]), /failed to start/);
});
