// LlamaIndex's agents, as `@llamaindex/workflow` is on npm, with a server of OpenAI's form.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { agent, agentStreamEvent, multiAgent, stopAgentEvent } from "@llamaindex/workflow";
import { attachLlamaIndex, flushLangfuse, Langfuse, runWorkflowWithFlush, step, traceLLM, traceWorkflow } from "langfuse-edge";
import { Settings, tool } from "llamaindex";

import { asksForWeather, openaiFor, toolCall, treeOfAgent } from "./support/llamaindex.mjs";
import { endOf, failedWith, observed } from "./support/observed.mjs";
import { until } from "./support/until.mjs";

const { receiver, rows } = observed();

let detach;
before(() => (detach = attachLlamaIndex(Settings)));
after(() => detach());

const parameters = { type: "object", properties: { city: { type: "string" } } };
const toolNamed = (name, execute) => tool({ name, description: name, parameters, execute });
const weather = toolNamed("weather", ({ city }) => `rain in ${city}`);

/** An agent whose model gives `answers`. */
async function assistant(t, tools, ...answers) {
  return agent({ name: "assistant", llm: await openaiFor(t, ...answers), tools });
}

describe("a traced agent", () => {
  test("is an observation with its steps below it, and below those its calls of model and tools", async (t) => {
    const traced = traceWorkflow(await assistant(t, [weather], asksForWeather, ["It ", "rains."]));
    const { data } = await runWorkflowWithFlush(traced, "How is Oslo?");
    assert.equal(data.result, "It rains.");
    assert.equal(await receiver().trees(), treeOfAgent("assistant"));
    const all = await receiver().rows();
    const [root] = all.filter(({ parentObservationId }) => !parentObservationId);
    assert.deepEqual([root.input, root.output], ['{"userInput":"How is Oslo?"}', "It rains."]);
    const called = all.find(({ name }) => name === "weather");
    assert.deepEqual([called.input, called.output], ['{"city":"Oslo"}', "rain in Oslo"]);
  });

  test("fails as the call of its model does, instead of never ending", async (t) => {
    const llm = traceLLM(await openaiFor(t, 400));
    const traced = traceWorkflow(agent({ name: "assistant", llm, tools: [weather] }));
    await assert.rejects(runWorkflowWithFlush(traced, "How is Oslo?"), /400/);
    const found = await rows();
    for (const name of ["assistant", "runAgentStep", "llm.chat"]) assert.deepEqual(endOf(found[name]), [...failedWith("400 no"), null], name);
  });

  test("fails when it is asked nothing", async (t) => {
    await assert.rejects(traceWorkflow(await assistant(t, [weather])).run(), /No user message/);
    const { assistant: root, handleInputStep } = await rows();
    assert.deepEqual([root, handleInputStep].map(({ level }) => level), ["ERROR", "ERROR"]);
  });

  test("goes on when a tool fails, which the tool's observation says", async (t) => {
    const broken = toolNamed("weather", () => { throw new Error("no such city"); });
    const traced = traceWorkflow(await assistant(t, [broken], asksForWeather, ["I do not know."]));
    assert.equal((await traced.run("How is Oslo?")).data.result, "I do not know.");
    await flushLangfuse();
    const all = await receiver().rows();
    const { level, statusMessage } = all.find(({ name }) => name === "weather");
    assert.deepEqual([level, all.find(({ name }) => name === "assistant").level], ["ERROR", "DEFAULT"]);
    assert.match(statusMessage, /no such city/);
  });

  test("can be watched while it runs: by its events, and at the receiver step by step", async (t) => {
    let seen;
    const slow = toolNamed("weather", async () => {
      seen = await until(async () => {
        const names = (await receiver().rows()).map(({ name }) => name);
        return names.includes("runAgentStep") && names;
      });
      return "rain";
    });
    const traced = traceWorkflow(await assistant(t, [slow], asksForWeather, ["It ", "rains."]));
    const events = await traced.runStream("How is Oslo?").toArray();
    assert.equal(events.filter((event) => agentStreamEvent.include(event)).map(({ data }) => data.delta).join("").trim(), "It rains.");
    assert.ok(stopAgentEvent.include(events.at(-1)));
    assert.ok(!seen.includes("assistant"), "it is still running");
    await flushLangfuse();
    const root = (await receiver().rows()).find(({ name }) => name === "assistant");
    assert.deepEqual([root.type, root.output], ["AGENT", "It rains."]);
  });

  test("hands over to another one within the same trace", async (t) => {
    const hands = [toolCall("call-1", "handOff", { toAgent: "poet", reason: "a poem is wanted" })];
    const poet = agent({ name: "poet", llm: await openaiFor(t, ["Roses."]), tools: [weather] });
    const first = agent({ name: "clerk", llm: await openaiFor(t, hands), tools: [weather], canHandoffTo: [poet] });
    const traced = traceWorkflow(multiAgent({ agents: [first, poet], rootAgent: first }), { name: "office" });
    assert.equal((await runWorkflowWithFlush(traced, "A poem, please")).data.result, "Roses.");
    const all = await receiver().rows();
    assert.deepEqual([all.filter(({ name }) => name === "office").length, new Set(all.map(({ traceId }) => traceId)).size], [1, 1]);
    assert.equal(all.find(({ name }) => name === "handOff").type, "TOOL");
  });

  test("keeps the traces of concurrent runs apart, each below what is current for it", async (t) => {
    const traced = traceWorkflow(await assistant(t, [], ...Array.from({ length: 10 }, () => ["Hi!"])));
    await Promise.all(Array.from({ length: 10 }, (_, id) => step(`request ${id}`, () => traced.run(`question ${id}`))));
    await flushLangfuse();
    const all = await receiver().rows();
    assert.equal(new Set(all.map(({ traceId }) => traceId)).size, 10);
    for (const root of all.filter(({ name }) => name === "assistant")) {
      const above = all.find(({ id }) => id === root.parentObservationId);
      assert.equal(root.input, `{"userInput":"${above.name.replace("request", "question")}"}`);
      const chat = all.find(({ name, traceId }) => name === "llm.chat" && traceId === root.traceId);
      assert.ok(chat.input.includes(above.name.replace("request", "question")));
    }
  });

  test("is an agent like any other to its user, and records nothing with a client that is disabled", async (t) => {
    const original = await assistant(t, [weather], ["Hi!"]);
    const traced = traceWorkflow(original, { client: new Langfuse({ enabled: false }) });
    assert.deepEqual(traced.getAgents(), original.getAgents());
    assert.equal((await traced.run("Hi?")).data.result, "Hi!");
    assert.deepEqual(await rows(), {});
  });
});

test("an agent that is not traced has its calls below the step that runs it", async (t) => {
  const plain = await assistant(t, [weather], asksForWeather, ["It rains."]);
  await step("ask", () => runWorkflowWithFlush(plain, "How is Oslo?"));
  const all = await receiver().rows();
  const { id } = all.find(({ name }) => name === "ask");
  const below = all.filter(({ parentObservationId }) => parentObservationId === id).map(({ name }) => name);
  assert.deepEqual(below.toSorted(), ["llm.chat", "llm.chat", "weather"]);
});
