// LlamaIndex.TS as it is on npm, with a server of OpenAI's form: what it tells of its work becomes observations.
import assert from "node:assert/strict";
import { afterEach, describe, test } from "node:test";

import { attachLlamaIndex, flushLangfuse, Langfuse, startActiveObservation, step, traceLLM } from "langfuse-edge";
import { BaseRetriever, CallbackManager, getResponseSynthesizer, RetrieverQueryEngine, Settings, TextNode, tool } from "llamaindex";

import { openaiFor, toolCall } from "./support/llamaindex.mjs";
import { COMPLETE, endOf, observed, STOPPED } from "./support/observed.mjs";

const { client, receiver, rows } = observed();

const messages = [{ role: "user", content: "Hi" }];

const attached = [];
afterEach(() => attached.splice(0).forEach((detach) => detach()));

function attach(options, settings = Settings) {
  const detach = attachLlamaIndex(settings, options);
  attached.push(detach);
  return detach;
}

// One suite: in Deno a suite begins with what was current when the one before it ended.
describe("LlamaIndex", () => {
  test("a chat is a generation below the current observation, with its model and parameters", async (t) => {
    attach();
    const llm = await openaiFor(t);
    await step("greet", () => llm.chat({ messages }));
    const { greet, "llm.chat": chat } = await rows();
    assert.deepEqual([chat.type, chat.parentObservationId, chat.providedModelName], ["GENERATION", greet.id, "gpt-4o-mini-0718"]);
    assert.deepEqual(chat.modelParameters, { temperature: 0.3, topP: 1, maxTokens: 50 });
    assert.deepEqual([JSON.parse(chat.input), JSON.parse(chat.output)], [messages, { role: "assistant", content: "Hello!" }]);
    assert.deepEqual(chat.usageDetails, { input: 9, output: 2, total: 11 });
    assert.deepEqual(endOf(chat).slice(0, 2), COMPLETE);
  });

  test("a stream is one too, with its first token, and the usage that its last chunk has", async (t) => {
    attach();
    const llm = await openaiFor(t, ["Hel", "lo", "!"]);
    await step("greet", async () => {
      for await (const _ of await llm.chat({ messages, stream: true }));
    });
    const { "llm.chat": chat } = await rows();
    assert.deepEqual(JSON.parse(chat.output), { role: "assistant", content: "Hello!" });
    assert.ok(chat.completionStartTime >= chat.startTime && chat.completionStartTime <= chat.endTime);
    assert.deepEqual([chat.providedModelName, chat.usageDetails], ["gpt-4o-mini-0718", { input: 9, output: 2, total: 11 }]);
  });

  test("of calls that fail or are left it tells no end: they end with what they are a part of", async (t) => {
    attach();
    const llm = await openaiFor(t, 400, ["Hel", "lo"]);
    await assert.rejects(step("fails", () => llm.chat({ messages })));
    const failed = await rows();
    assert.equal(failed["llm.chat"].parentObservationId, failed.fails.id);
    assert.deepEqual(endOf(failed["llm.chat"]), ["WARNING", "never ended", null]);
    await client();
    await step("leaves", async () => {
      for await (const _ of await llm.chat({ messages, stream: true })) break;
    });
    assert.deepEqual(endOf((await rows())["llm.chat"]), ["WARNING", "never ended", '{"role":"assistant","content":"Hel"}']);
  });

  test("a traced LLM knows how its calls end, and no call is recorded twice", async (t) => {
    attach();
    const llm = traceLLM(await openaiFor(t, "Hello!", ["Hel", "lo"], 400));
    await step("chats", () => llm.chat({ messages }));
    assert.deepEqual((await receiver().rows()).map(({ name }) => name).toSorted(), ["chats", "llm.chat"]);
    await client();
    await step("leaves", async () => {
      for await (const _ of await llm.chat({ messages, stream: true })) break;
    });
    assert.deepEqual(endOf((await rows())["llm.chat"]), [...STOPPED, '{"role":"assistant","content":"Hel"}']);
    await client();
    await assert.rejects(step("fails", () => llm.chat({ messages })));
    const [level, message] = endOf((await rows())["llm.chat"]);
    assert.equal(level, "ERROR");
    assert.match(message, /400/);
  });

  test("tools are observations, also those that throw", async (t) => {
    attach();
    const calls = ["weather", "broken"].map((name, id) => toolCall(`call-${id}`, name, { city: "Oslo" }));
    const asks = { role: "assistant", content: null, tool_calls: calls };
    const llm = await openaiFor(t, asks, "Rain.");
    const parameters = { type: "object", properties: { city: { type: "string" } } };
    const tools = [
      tool({ name: "weather", description: "Weather", parameters, execute: ({ city }) => `rain in ${city}` }),
      tool({ name: "broken", description: "Fails", parameters, execute: () => { throw new Error("no such city"); } }),
    ];
    await step("agent", async () => {
      const { newMessages } = await llm.exec({ messages: [...messages], tools });
      await llm.chat({ messages: [...messages, ...newMessages] });
    });
    await flushLangfuse();
    const all = await receiver().rows();
    const named = (name) => all.find((row) => row.name === name);
    const { weather, broken } = { weather: named("weather"), broken: named("broken") };
    assert.deepEqual([weather.type, weather.parentObservationId], ["TOOL", named("agent").id]);
    assert.deepEqual([weather.input, weather.output, weather.level], ['{"city":"Oslo"}', "rain in Oslo", "DEFAULT"]);
    assert.deepEqual([broken.type, broken.level], ["TOOL", "ERROR"]);
    assert.match(broken.statusMessage, /no such city/);
    const [first] = all.filter(({ name }) => name === "llm.chat").sort((a, b) => a.startTime.localeCompare(b.startTime));
    assert.deepEqual(JSON.parse(first.output).options.toolCall.map(({ name }) => name), ["weather", "broken"]);
  });

  test("a query has its retrieval and its synthesis below it, and that its chats", async (t) => {
    attach();
    const llm = await openaiFor(t, "Blue.");
    class Shelf extends BaseRetriever {
      async _retrieve() {
        return [{ node: new TextNode({ id_: "n1", text: "The sky is blue.", metadata: { page: 1 } }), score: 0.9 }];
      }
    }
    await Settings.withLLM(llm, () =>
      step("ask", async () => {
        const engine = new RetrieverQueryEngine(new Shelf(), getResponseSynthesizer("compact"));
        const { message } = await engine.query({ query: "What colour is the sky?" });
        assert.equal(message.content, "Blue.");
      }),
    );
    const { ask, query, retrieve, synthesize, "llm.chat": chat } = await rows();
    assert.deepEqual([query.type, retrieve.type, synthesize.type, chat.type], ["CHAIN", "RETRIEVER", "CHAIN", "GENERATION"]);
    assert.deepEqual(
      [query, retrieve, synthesize, chat].map(({ parentObservationId }) => parentObservationId),
      [ask.id, query.id, query.id, synthesize.id],
    );
    assert.deepEqual([query.input, query.output], ["What colour is the sky?", "Blue."]);
    assert.deepEqual(JSON.parse(retrieve.output), [{ id: "n1", text: "The sky is blue.", score: 0.9, metadata: { page: 1 } }]);
    assert.deepEqual([retrieve, synthesize, query].map(endOf).map(([level]) => level), ["DEFAULT", "DEFAULT", "DEFAULT"]);
  });

  test("what is not below an observation is a trace of its own", async (t) => {
    attach();
    const llm = await openaiFor(t, "A", "B");
    await llm.chat({ messages });
    assert.equal((await rows())["llm.chat"].parentObservationId, null);
  });

  test("many at a time do not mix", async (t) => {
    attach();
    const llm = await openaiFor(t);
    await Promise.all(
      Array.from({ length: 20 }, (_, id) => step(`step ${id}`, () => llm.chat({ messages: [{ role: "user", content: `${id}` }] }))),
    );
    await flushLangfuse();
    const all = await receiver().rows();
    assert.equal(all.length, 40);
    for (const chat of all.filter(({ name }) => name === "llm.chat")) {
      const [{ content }] = JSON.parse(chat.input);
      assert.equal(all.find(({ id }) => id === chat.parentObservationId).name, `step ${content}`);
    }
  });

  test("attaching twice is once; detached it is quiet, and ends what is under way", async (t) => {
    const detach = attach();
    attachLlamaIndex(Settings)();
    const llm = await openaiFor(t, "A", ["B", "C"], "D");
    await step("once", () => llm.chat({ messages }));
    assert.deepEqual(Object.keys(await rows()).toSorted(), ["llm.chat", "once"]);
    await client();
    await step("detached", async () => {
      const stream = (await llm.chat({ messages, stream: true }))[Symbol.asyncIterator]();
      await stream.next();
      detach();
      detach();
      while (!(await stream.next()).done);
      await llm.chat({ messages });
    });
    const { detached, "llm.chat": chat, ...others } = await rows();
    assert.deepEqual([detached.level, chat.level, chat.statusMessage, others], ["DEFAULT", "WARNING", "never ended", {}]);
  });

  test("one callback manager does not hear what another is for", async (t) => {
    const callbackManager = new CallbackManager();
    attach({}, { callbackManager });
    const llm = await openaiFor(t, "A", "B");
    await step("the other", () => llm.chat({ messages }));
    assert.deepEqual(Object.keys(await rows()), ["the other"]);
    await client();
    await step("this one", () => Settings.withCallbackManager(callbackManager, () => llm.chat({ messages })));
    assert.deepEqual(Object.keys(await rows()).toSorted(), ["llm.chat", "this one"]);
  });

  test("a client of one's own records, below its own observations", async (t) => {
    const own = new Langfuse(receiver().options);
    attach({ client: own });
    const llm = await openaiFor(t);
    await startActiveObservation("own", () => llm.chat({ messages }), { client: own });
    const found = await rows(own);
    assert.equal(found["llm.chat"].parentObservationId, found.own.id);
  });

  test("events that say nonsense harm nobody", async () => {
    const callbackManager = new CallbackManager();
    attach({}, { callbackManager });
    const hostile = new Proxy({}, { get() { throw new Error("no"); }, ownKeys() { throw new Error("no"); }, has() { throw new Error("no"); } });
    for (const name of ["llm-start", "llm-stream", "llm-end", "llm-tool-call", "llm-tool-result", "query-start", "query-end", "retrieve-end"]) {
      for (const detail of [{}, { id: "1", messages: hostile, chunk: hostile, response: hostile, toolCall: hostile, toolResult: hostile, query: hostile, nodes: hostile }]) {
        callbackManager.dispatchEvent(name, detail, true);
      }
    }
    await flushLangfuse();
  });

  test("what has no callback manager is refused", () => {
    for (const nothing of [undefined, {}, { callbackManager: {} }]) {
      assert.throws(() => attachLlamaIndex(nothing), /^Error: langfuse-edge: attachLlamaIndex: settings must be LlamaIndex's Settings/);
    }
  });

  test("without keys nothing is recorded", async (t) => {
    attach({ client: new Langfuse({ enabled: false }) });
    const llm = await openaiFor(t, "A");
    assert.equal((await llm.chat({ messages })).message.content, "A");
    assert.deepEqual(await rows(), {});
  });

  test("what a call gives is what LlamaIndex gives", async (t) => {
    attach();
    const llm = traceLLM(await openaiFor(t, "A", ["B"]));
    const text = await step("both", async () => {
      assert.equal((await llm.chat({ messages })).raw.model, "gpt-4o-mini-0718");
      let text = "";
      for await (const chunk of await llm.complete({ prompt: "Hi", stream: true })) text += chunk.text;
      return text;
    });
    assert.equal(text, "B");
    const { "llm.complete": row } = await rows();
    assert.deepEqual([row.input, row.output, row.level], ["Hi", "B", "DEFAULT"]);
  });
});
