// Calls of language models: by callbacks, and through a traced LLM.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { MockLLM } from "@llamaindex/core/llms/mock";
import {
  addFlushHandler,
  flushLangfuse,
  getLlmCallbackHandler,
  Langfuse,
  LlmCallbackHandler,
  setLangfuse,
  startActiveObservation,
  startObservation,
  step,
  traceLLM,
} from "langfuse-edge";
import { tool } from "llamaindex";

import { COMPLETE, endOf, failedWith, observed, STOPPED } from "./support/observed.mjs";

const { client, receiver, rows } = observed();

const REQUEST = { model: "gpt-4o", temperature: 0.2, messages: [{ role: "user", content: "Hi" }] };
const messages = REQUEST.messages;

describe("the callback handler", () => {
  test("makes a generation of a call, with everything that is said of it", async () => {
    const handler = new LlmCallbackHandler();
    handler.onLlmStart("1", "answer", { ...REQUEST, stream: true, stop: ["\n"], top_p: null, tools: [{ name: "t" }] });
    assert.equal(handler.callsUnderWay, 1);
    handler.onLlmFirstToken("1");
    handler.onLlmFirstToken("1");
    handler.onLlmEnd("1", {
      model: "gpt-4o-2024-11-20",
      choices: [{ message: { role: "assistant", content: "Hello!" } }],
      usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15, prompt_tokens_details: { cached_tokens: 4, audio_tokens: 0 } },
    });
    assert.equal(handler.callsUnderWay, 0);
    const { answer } = await rows();
    assert.equal(answer.type, "GENERATION");
    assert.equal(answer.providedModelName, "gpt-4o-2024-11-20");
    assert.deepEqual(JSON.parse(answer.input), { messages, tools: [{ name: "t" }] });
    assert.deepEqual(JSON.parse(answer.output), { role: "assistant", content: "Hello!" });
    assert.deepEqual(answer.modelParameters, { temperature: 0.2, stream: "true", stop: '["\\n"]' });
    assert.deepEqual(answer.usageDetails, { input: 6, input_cached_tokens: 4, output: 5, total: 15 });
    assert.ok(answer.completionStartTime >= answer.startTime && answer.completionStartTime <= answer.endTime);
    assert.deepEqual(endOf(answer).slice(0, 2), COMPLETE);
  });

  test("reads requests and responses of other forms as they are", async () => {
    const handler = new LlmCallbackHandler();
    const hostile = { messages: "m", get model() { throw new Error("no"); } };
    for (const [id, request, response, input, output] of [
      ["text", "Hi", "Hello!", "Hi", "Hello!"],
      ["prompt", { prompt: "Hi" }, { output: "Hello!" }, "Hi", "Hello!"],
      ["anthropic", { messages, system: "S" }, { role: "assistant", content: [{ type: "text" }], id: "x" }, JSON.stringify({ messages, system: "S" }), '{"role":"assistant","content":[{"type":"text"}]}'],
      ["gemini", { contents: "Hi" }, { candidates: [1], usageMetadata: { promptTokenCount: 3, candidatesTokenCount: 4 } }, "Hi", "[1]"],
      ["two choices", { input: "Hi" }, { choices: [{ text: "a" }, { text: "b" }] }, "Hi", '["a","b"]'],
      ["another form", { query: "q" }, { answer: 1 }, '{"query":"q"}', '{"answer":1}'],
      ["hostile", hostile, [1], "m", "[1]"],
    ]) {
      handler.onLlmStart(id, id, request);
      handler.onLlmEnd(id, response);
      const row = (await rows())[id];
      assert.deepEqual([row.input, row.output], [input, output], id);
    }
    assert.deepEqual((await rows()).gemini.usageDetails, { input: 3, output: 4, total: 7 });
  });

  test("an error ends a call with level ERROR, and what comes for it later changes nothing", async () => {
    const handler = new LlmCallbackHandler();
    handler.onLlmStart("1", "answer", REQUEST);
    handler.onLlmError("1", new Error("rate limit"));
    handler.onLlmEnd("1", { output: "late" });
    handler.onLlmError("1", new Error("late"));
    handler.onLlmFirstToken("1");
    handler.onLlmEnd("nobody's", {});
    const { answer } = await rows();
    assert.deepEqual(endOf(answer), [...failedWith("rate limit"), null]);
    assert.equal(answer.completionStartTime, null);
  });

  test("a call is below what was current when it began, or below its parent", async () => {
    const handler = new LlmCallbackHandler();
    const parent = startObservation("elsewhere");
    startActiveObservation("root", () => {
      handler.onLlmStart("1", "below root", REQUEST);
      handler.onLlmStart("2", "below elsewhere", REQUEST, { parent });
    });
    handler.onLlmEnd("1", "a");
    handler.onLlmEnd("2", "b");
    parent.end();
    const found = await rows();
    assert.equal(found["below root"].parentObservationId, found.root.id);
    assert.equal(found["below elsewhere"].parentObservationId, found.elsewhere.id);
  });

  test("a call that nobody will end is ended by a flush, others are not", async () => {
    const handler = new LlmCallbackHandler();
    startActiveObservation("root", () => handler.onLlmStart("1", "orphan", REQUEST));
    handler.onLlmStart("2", "under way", REQUEST);
    const found = await rows();
    assert.deepEqual(Object.keys(found).toSorted(), ["orphan", "root"]);
    assert.deepEqual(endOf(found.orphan), ["WARNING", "never ended", null]);
    assert.equal(handler.callsUnderWay, 1);
    handler.finish();
    assert.equal(handler.callsUnderWay, 0);
    assert.deepEqual(endOf((await rows())["under way"]), ["WARNING", "never ended", null]);
  });

  test("a call that is under way for more than an hour is given up by the next flush", async () => {
    const handler = new LlmCallbackHandler();
    handler.onLlmStart("1", "forgotten", REQUEST);
    const { now } = Date;
    Date.now = () => now() + 3_601_000;
    handler.flush();
    Date.now = now;
    assert.equal(handler.callsUnderWay, 0);
    assert.deepEqual(endOf((await rows()).forgotten), ["WARNING", "never ended", null]);
  });

  test("an id that comes again gives up the call that had it", async () => {
    const handler = new LlmCallbackHandler();
    handler.onLlmStart("1", "first", REQUEST);
    handler.onLlmStart("1", "second", REQUEST);
    handler.onLlmEnd("1", "done");
    const found = await rows();
    assert.deepEqual([endOf(found.first), endOf(found.second)], [["WARNING", "never ended", null], [...COMPLETE, "done"]]);
  });

  test("of more than 10,000 calls under way the oldest is given up", async () => {
    const handler = new LlmCallbackHandler();
    for (let id = 0; id <= 10_000; id++) handler.onLlmStart(`${id}`, "many", "Hi");
    assert.equal(handler.callsUnderWay, 10_000);
    handler.finish();
  });

  test("without keys it does nothing", () => {
    const handler = new LlmCallbackHandler({ client: new Langfuse({ enabled: false }) });
    handler.onLlmStart("1", "answer", REQUEST);
    assert.equal(handler.callsUnderWay, 0);
    handler.onLlmEnd("1", "done");
  });

  test("there is one for the process", async () => {
    assert.equal(getLlmCallbackHandler(), getLlmCallbackHandler());
    getLlmCallbackHandler().onLlmStart("1", "shared", REQUEST);
    getLlmCallbackHandler().onLlmEnd("1", "done");
    assert.equal((await rows()).shared.output, "done");
  });
});

describe("the flush of the process-wide client", () => {
  test("lets handlers finish first, and sends what they record", async () => {
    const order = [];
    const remove = addFlushHandler({
      async flush({ timeoutMs }) {
        order.push(timeoutMs);
        await Promise.resolve();
        startObservation("from the handler").end();
      },
    });
    const report = await flushLangfuse({ timeoutMs: 4000 });
    assert.deepEqual([report.ok, report.delivered, order], [true, 1, [2000]]);
    remove();
    assert.equal((await flushLangfuse()).delivered, 0);
    assert.equal(order.length, 1);
  });

  test("a handler that fails, or is never done, does not stop it, and is said", async (t) => {
    const warn = t.mock.method(console, "warn", () => {});
    const handlers = [
      { flush() { throw new Error("broken"); } },
      { flush: () => Promise.reject(new Error("rejected")) },
      { flush: () => new Promise(() => {}) },
      { flush: () => startObservation("from the good one").end() },
    ];
    const removes = handlers.map(addFlushHandler);
    startObservation("own").end();
    const report = await flushLangfuse({ timeoutMs: 1000 });
    removes.forEach((remove) => remove());
    assert.deepEqual([report.ok, report.delivered], [true, 2]);
    assert.deepEqual(warn.mock.calls.map(({ arguments: [text] }) => text).toSorted(), [
      "langfuse-edge: flush: a handler was passed over: broken",
      "langfuse-edge: flush: a handler was passed over: it took too long",
      "langfuse-edge: flush: a handler was passed over: rejected",
    ]);
  });

  test("asks no handler when Langfuse is disabled, and may be called from several places at once", async () => {
    let asked = 0;
    const remove = addFlushHandler({ flush: () => asked++ });
    const enabled = await client();
    startObservation("once").end();
    const reports = await Promise.all([flushLangfuse(), flushLangfuse(), flushLangfuse()]);
    assert.deepEqual(reports.map(({ ok }) => ok), [true, true, true]);
    assert.equal(asked, 3);
    setLangfuse(new Langfuse({ enabled: false }));
    assert.deepEqual([(await flushLangfuse()).ok, asked], [true, 3]);
    remove();
    assert.equal((await receiver().state()).duplicates, 0);
    assert.equal((await receiver().rows()).length, 1);
    await enabled.shutdown();
  });

  test("a handler without flush is refused", () => {
    assert.throws(() => addFlushHandler({}), /^Error: langfuse-edge: addFlushHandler: handler must be an object with a method flush$/);
  });
});

/** A local LLM of LlamaIndex's shape with fields that are private to it. */
class ScriptedLLM {
  #calls = 0;
  metadata = { model: "scripted-1", temperature: 0.5, topP: 1, maxTokens: 100, contextWindow: 1024, tokenizer: undefined };
  get calls() {
    return this.#calls;
  }
  async chat({ messages, stream, fail }) {
    this.#calls++;
    if (fail === "at once") throw new Error("no model");
    const raw = { model: "scripted-1-0515", usage: { input_tokens: 3, output_tokens: 2 } };
    if (!stream) return { message: { role: "assistant", content: `Re: ${messages.at(-1).content}` }, raw };
    return (async function* () {
      yield { delta: "Hel", raw: { model: "scripted-1-0515" } };
      yield { delta: "lo", raw: {} };
      if (fail) throw new Error("broken off");
      yield { delta: "!", raw };
    })();
  }
  async complete({ prompt }) {
    return { text: `${prompt}!`, raw: null };
  }
  whoAmI() {
    return [this.#calls, this instanceof ScriptedLLM];
  }
}

describe("a traced LLM", () => {
  test("gives what the LLM gives, and makes a generation of each call", async () => {
    const llm = new ScriptedLLM();
    const traced = traceLLM(llm);
    const response = await traced.chat({ messages, additionalChatOptions: { seed: 7 } });
    assert.equal(response.message.content, "Re: Hi");
    const row = (await rows())["llm.chat"];
    assert.deepEqual([row.type, row.providedModelName, row.input], ["GENERATION", "scripted-1-0515", JSON.stringify(messages)]);
    assert.deepEqual(row.modelParameters, { temperature: 0.5, topP: 1, maxTokens: 100, seed: 7 });
    assert.deepEqual(JSON.parse(row.output), { role: "assistant", content: "Re: Hi" });
    assert.deepEqual(row.usageDetails, { input: 3, output: 2, total: 5 });
    assert.equal((await traced.complete({ prompt: "Hi" })).text, "Hi!");
    const completed = (await rows())["llm.complete"];
    assert.deepEqual([completed.input, completed.output, completed.providedModelName], ["Hi", "Hi!", "scripted-1"]);
  });

  test("is the LLM to everybody who looks at it", async () => {
    const llm = new ScriptedLLM();
    const traced = traceLLM(llm);
    assert.ok(traced instanceof ScriptedLLM);
    assert.equal(traced.metadata, llm.metadata);
    await traced.chat({ messages });
    assert.deepEqual([traced.calls, traced.whoAmI(), llm.calls], [1, [1, true], 1]);
    assert.equal(traced.chat, traced.chat);
    traced.metadata = { model: "other" };
    assert.equal(llm.metadata.model, "other");
    const frozen = traceLLM(Object.freeze({ chat: async () => ({ text: "cold" }) }), { name: "frozen" });
    assert.equal((await frozen.chat({ messages })).text, "cold");
    assert.equal((await rows()).frozen.output, "cold");
  });

  test("a stream's generation has its text, its first token, its usage and its model", async () => {
    const traced = traceLLM(new ScriptedLLM());
    const chunks = [];
    for await (const { delta } of await traced.chat({ messages, stream: true })) chunks.push(delta);
    assert.deepEqual(chunks, ["Hel", "lo", "!"]);
    const row = (await rows())["llm.chat"];
    assert.deepEqual(JSON.parse(row.output), { role: "assistant", content: "Hello!" });
    assert.ok(row.completionStartTime >= row.startTime && row.completionStartTime <= row.endTime);
    assert.deepEqual([row.providedModelName, row.usageDetails.total, row.modelParameters.stream], ["scripted-1-0515", 5, "true"]);
  });

  test("errors are thrown on, unchanged, and end the generation with level ERROR and what there was", async () => {
    const traced = traceLLM(new ScriptedLLM(), { name: "one" });
    await assert.rejects(traced.chat({ messages, fail: "at once" }), /^Error: no model$/);
    assert.deepEqual(endOf((await rows()).one), [...failedWith("no model"), null]);
    await client();
    await assert.rejects(async () => {
      for await (const _ of await traced.chat({ messages, stream: true, fail: "midway" }));
    }, /^Error: broken off$/);
    const row = (await rows()).one;
    assert.deepEqual(endOf(row), [...failedWith("broken off"), '{"role":"assistant","content":"Hello"}']);
    await client();
    const sync = traceLLM({ chat() { throw new TypeError("sync"); } }, { name: "sync" });
    assert.throws(() => sync.chat({ messages }), /^TypeError: sync$/);
    assert.deepEqual(endOf((await rows()).sync), [...failedWith("sync"), null]);
  });

  test("a consumer that leaves a stream ends the generation with level WARNING and what it has read", async () => {
    const traced = traceLLM(new ScriptedLLM(), { name: "one" });
    for await (const _ of await traced.chat({ messages, stream: true })) break;
    assert.deepEqual(endOf((await rows()).one), [...STOPPED, '{"role":"assistant","content":"Hel"}']);
  });

  test("calls nest below what is current, and what they do below them", async () => {
    const traced = traceLLM({ chat: async () => step("inside", () => ({ text: "x" })) }, { name: "call" });
    await step("around", () => traced.chat({ messages }));
    const found = await rows();
    assert.equal(found.call.parentObservationId, found.around.id);
    assert.equal(found.inside.parentObservationId, found.call.id);
  });

  test("values that throw when they are looked at do not change a call", async () => {
    const fail = () => { throw new Error("looked at"); };
    // A generator itself asks for `then`.
    const get = (_, name) => name === "then" ? undefined : fail();
    const hostile = () => new Proxy({}, { get, has: fail, ownKeys: fail, getOwnPropertyDescriptor: fail });
    const chunks = [{ delta: "a", options: hostile(), raw: hostile() }, hostile()];
    const llm = { metadata: hostile(), chat: ({ stream }) => (stream ? (async function* () { yield* chunks; })() : { message: hostile(), raw: hostile() }) };
    const traced = traceLLM(llm, { name: "one" });
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    for (const params of [{ messages, tools: [hostile()], additionalChatOptions: hostile() }, { messages: proxy, tools: proxy }]) {
      await client();
      assert.ok(await traced.chat(params));
      assert.equal((await rows()).one.level, "DEFAULT");
    }
    await client();
    const seen = [];
    for await (const chunk of traced.chat({ messages, stream: true })) seen.push(chunk);
    assert.deepEqual(seen.map((chunk, index) => chunk === chunks[index]), [true, true]);
    assert.equal((await rows()).one.level, "DEFAULT");
    const handler = new LlmCallbackHandler();
    handler.onLlmStart("1", "by callback", proxy);
    handler.onLlmEnd("1", hostile());
    assert.equal((await rows())["by callback"].level, "DEFAULT");
  });

  test("what is no LLM is refused", () => {
    for (const nothing of [{}, { chat: 1 }, null]) assert.throws(() => traceLLM(nothing), /^Error: langfuse-edge: traceLLM: llm must be/);
  });

  test("without keys the LLM is called as it is", async () => {
    setLangfuse(new Langfuse({ enabled: false }));
    assert.equal((await traceLLM(new ScriptedLLM()).chat({ messages })).message.content, "Re: Hi");
  });

  test("the turns of LlamaIndex's own loop are generations, with the tools they are told of", async () => {
    const toolCalls = [{ id: "call-1", name: "add", input: { a: 1, b: 2 } }];
    const llm = traceLLM(new MockLLM({ timeBetweenToken: 0, mockToolCallResponse: { toolCalls } }), { name: "turn" });
    const add = tool({
      name: "add",
      description: "Adds",
      parameters: { type: "object", properties: {} },
      execute: ({ a, b }) => `${a + b}`,
    });
    const { newMessages } = await llm.exec({ messages: [...messages], tools: [add] });
    assert.equal(newMessages.at(-1).options.toolResult.result, "3");
    const { turn } = await rows();
    assert.deepEqual(JSON.parse(turn.input).tools.map(({ name }) => name), ["add"]);
    assert.deepEqual(JSON.parse(turn.output).options.toolCall, toolCalls);
    assert.deepEqual(turn.modelParameters, { temperature: 0.5, topP: 0.5 });
  });
});
