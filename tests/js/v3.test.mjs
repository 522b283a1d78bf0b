// Programs for version 3 of Langfuse's client, as their users wrote them, and what arrives.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, afterEach, before, beforeEach, describe, mock, test } from "node:test";

import { createTraceId } from "langfuse-edge";
import DefaultLangfuse, { Langfuse } from "langfuse-edge/v3";

import { nobodyListens } from "./support/http-server.mjs";
import { startReceiver } from "./support/receiver.mjs";

const HEX_TRACE_ID = "0af7651916cd43dd8448eb211c80319c";
const HEX_ID = "b7ad6b7169203331";

let receiver;
before(async () => (receiver = await startReceiver()));
after(() => receiver.stop());
beforeEach(() => receiver.reset());
afterEach(() => mock.restoreAll());

/** A client that sends only when it is told to. */
const client = (options) => new Langfuse({ ...receiver.options, flushInterval: 0, flushAt: 1000, ...options });

/** Flushes, and gives the rows that the receiver has, by name. */
async function arrived(langfuse) {
  const report = await langfuse.flushAsync();
  assert.ok(report.ok, JSON.stringify(report));
  const rows = await receiver.rows();
  return Object.fromEntries(rows.map((row) => [row.name, row]));
}

/** The metadata the user gave, without what the server adds. */
const own = ({ metadata }) => Object.fromEntries(Object.entries(metadata).filter(([name]) => !/^(scope|resourceAttributes)\./.test(name)));

const seconds = (n) => new Date(Date.UTC(2026, 0, 2, 3, 4, n));

describe("a program of version 3", () => {
  test("the chatbot of its documentation becomes the same tree", async () => {
    const langfuse = client({ release: "v1.0.0", environment: "production" });
    const trace = langfuse.trace({
      name: "chat-app-session",
      userId: "user__935d7d1d",
      sessionId: "session-7",
      metadata: { user: "user@langfuse.com" },
      tags: ["production"],
      input: "What is SOC 2?",
      version: "2.1",
      public: true,
    });
    const span = trace.span({ name: "embedding-retrieval", input: { userInput: "What is SOC 2?" } });
    span.event({ name: "cache-miss", metadata: { key: "soc" }, level: "DEBUG" });
    span.end({ output: ["doc-1"] });
    const generation = trace.generation({
      name: "chat-completion",
      model: "gpt-4o",
      modelParameters: { temperature: 0.9, maxTokens: 2000, stop: ["END"] },
      input: [{ role: "user", content: "What is SOC 2?" }],
      prompt: { name: "soc-bot", version: 3, isFallback: false, compile: () => "" },
    });
    generation.update({ completionStartTime: new Date() });
    generation.end({ output: { role: "assistant", content: "An audit." }, usage: { promptTokens: 5, completionTokens: 7 } });
    generation.score({ name: "relevance", value: 0.9, comment: "good" });
    trace.score({ name: "user-feedback", value: 1, dataType: "BOOLEAN" });
    trace.update({ output: "An audit.", tags: ["answered"] });

    const rows = await arrived(langfuse);
    assert.deepEqual(tree(rows), {
      "chat-app-session": "SPAN",
      "embedding-retrieval": "SPAN below chat-app-session",
      "cache-miss": "EVENT below embedding-retrieval",
      "chat-completion": "GENERATION below chat-app-session",
    });
    const root = rows["chat-app-session"];
    assert.deepEqual([root.input, root.output, root.parentObservationId], ["What is SOC 2?", "An audit.", null]);
    assert.deepEqual([root.id === trace.id, root.traceId], [false, trace.id]);
    for (const row of Object.values(rows)) {
      const { traceName, userId, sessionId, release, version, environment } = row;
      assert.deepEqual([traceName, userId, sessionId], ["chat-app-session", "user__935d7d1d", "session-7"], row.name);
      assert.deepEqual([release, version, environment], ["v1.0.0", "2.1", "production"], row.name);
      assert.deepEqual([own(row).user, row.public], ["user@langfuse.com", true], row.name);
    }
    const completion = rows["chat-completion"];
    assert.deepEqual([completion.promptName, completion.promptVersion], ["soc-bot", 3]);
    assert.deepEqual(completion.modelParameters, { temperature: 0.9, maxTokens: 2000, stop: '["END"]' });
    assert.ok(completion.completionStartTime);
    assert.deepEqual([rows["cache-miss"].type, rows["cache-miss"].level], ["EVENT", "DEBUG"]);
    assert.deepEqual(completion.usageDetails, { input: 5, output: 7, total: 12 });
    assert.deepEqual([root.tags, completion.tags], [["production", "answered"], ["production"]]);
    const scores = await receiver.scores();
    assert.deepEqual(
      scores.map(({ name, traceId, observationId, value, comment }) => [name, traceId, observationId, value, comment]),
      [
        ["relevance", trace.id, generation.id, 0.9, "good"],
        ["user-feedback", trace.id, null, 1, null],
      ],
    );
  });

  test("every call can be chained, and an update adds to what was said", async () => {
    const langfuse = client();
    const trace = langfuse.trace({ metadata: { a: 1, b: 1 } });
    assert.equal(trace.update({ metadata: { b: 2 }, name: "named later" }).score({ name: "s", value: 1 }), trace);
    const span = trace.span({ name: "work", input: "in", metadata: { a: "mine" } });
    assert.equal(span.update({ metadata: { c: 3 } }).update({ output: "early", level: "WARNING" }).end({ output: "late" }), span);
    assert.equal(langfuse.score({ traceId: trace.id, name: "t", value: "x" }), langfuse);

    const { work, ...others } = await arrived(langfuse);
    assert.deepEqual([work.input, work.output, work.level, work.traceName], ["in", "late", "WARNING", "named later"]);
    assert.deepEqual(own(work), { a: "mine", b: "2", c: "3" }, "its own metadata wins over its trace's");
    assert.deepEqual(own(Object.values(others)[0]), { a: "1", b: "2" });
  });

  test("an error is told by level and status message", async () => {
    const langfuse = client();
    const span = langfuse.trace({ name: "job" }).span({ name: "step" });
    span.end({ level: "ERROR", statusMessage: "no such file" });
    const { step } = await arrived(langfuse);
    assert.deepEqual([step.level, step.statusMessage], ["ERROR", "no such file"]);
  });

  test("usage and cost may have all of their forms", async () => {
    const forms = {
      openai: { usage: { promptTokens: 5, completionTokens: 7, totalTokens: 12 } },
      langfuse: { usage: { input: 5, output: 7, total: 13, unit: "TOKENS", inputCost: 0.1, outputCost: 0.2, totalCost: 0.3 } },
      characters: { usage: { input: 5, unit: "CHARACTERS", output: null } },
      snake: { usage: { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 } },
      details: { usage: { input: 1 }, usageDetails: { input: 5, cached: 2 }, costDetails: { total: 1 } },
    };
    const langfuse = client();
    const trace = langfuse.trace({ name: "usage" });
    for (const [name, body] of Object.entries(forms)) trace.generation({ name, ...body }).end();
    const rows = await arrived(langfuse);
    assert.deepEqual(rows.openai.usageDetails, { input: 5, output: 7, total: 12 });
    assert.deepEqual(rows.langfuse.usageDetails, { input: 5, output: 7, total: 13 });
    assert.deepEqual(rows.langfuse.costDetails, { input: 0.1, output: 0.2, total: 0.3 });
    assert.deepEqual([rows.characters.usageDetails.input, own(rows.characters)], [5, { usageUnit: "CHARACTERS" }]);
    assert.deepEqual(rows.snake.usageDetails, { input: 5, output: 7, total: 12 });
    assert.deepEqual(rows.details.usageDetails, { input: 5, cached: 2, total: 7 });
    assert.deepEqual(rows.details.costDetails, { total: 1 });
  });

  test("a fallback prompt is not linked, and integrations may name a prompt", async () => {
    const langfuse = client();
    const trace = langfuse.trace({ name: "prompts" });
    trace.generation({ name: "fallback", prompt: { name: "p", version: 1, isFallback: true } }).end();
    trace.generation({ name: "named", promptName: "p", promptVersion: 2 }).end();
    const { fallback, named } = await arrived(langfuse);
    assert.deepEqual([fallback.promptName, named.promptName, named.promptVersion], [null, "p", 2]);
  });

  test("times are those it says, as dates or as texts, and a trace ends with the last of its observations", async () => {
    const langfuse = client();
    const trace = langfuse.trace({ name: "past", timestamp: seconds(1) });
    trace.generation({ name: "logged", startTime: seconds(2), endTime: seconds(4), output: "x" });
    trace.span({ name: "text", startTime: seconds(3).toISOString(), endTime: seconds(5).toISOString() });
    trace.event({ name: "point", startTime: seconds(3) });
    const rows = await arrived(langfuse);
    const times = (name) => [rows[name].startTime, rows[name].endTime];
    const said = (from, to) => [seconds(from).toISOString(), seconds(to).toISOString()];
    assert.deepEqual(times("logged"), said(2, 4));
    assert.deepEqual(times("text"), said(3, 5));
    assert.deepEqual(times("point"), said(3, 3));
    assert.deepEqual(times("past"), said(1, 5));
  });

  test("null is as good as absent", async () => {
    const langfuse = client();
    const trace = langfuse.trace({ id: null, name: "nulls", userId: null, input: null, metadata: null, tags: null, public: null });
    trace.generation({ name: null, model: null, usage: null, metadata: null, startTime: null, statusMessage: null }).end();
    const { nulls, generation } = await arrived(langfuse);
    assert.deepEqual([nulls.userId, nulls.input, nulls.public, own(nulls)], [null, null, false, {}]);
    assert.equal(generation.parentObservationId, nulls.id);
  });

  test("hostile values cost only themselves", async () => {
    const hostile = { good: 1, get bad() { throw new Error("no"); } };
    const langfuse = client();
    const trace = langfuse.trace({ name: "hostile", metadata: hostile, tags: "one" });
    trace.span(hostile);
    trace.span().end(undefined);
    const circular = { name: "circular" };
    circular.input = circular;
    trace.span(circular).end({ metadata: hostile });
    const rows = await arrived(langfuse);
    assert.deepEqual([own(rows.hostile).good, rows.hostile.tags], ["1", ["one"]]);
    assert.match(rows.circular.input, /Circular/);
    assert.equal(own(rows.circular).good, "1");
  });

  test("without a trace, an observation begins one of its name", async () => {
    const langfuse = client();
    langfuse.span({ name: "of a span" }).end();
    langfuse.generation({ name: "of a generation" }).end();
    langfuse.event({ name: "of an event" });
    const rows = await receiverRows(langfuse);
    const roots = rows.filter(({ parentObservationId }) => !parentObservationId);
    for (const [name, type] of [["of a span", "SPAN"], ["of a generation", "GENERATION"], ["of an event", "EVENT"]]) {
      const root = roots.find((row) => row.name === name);
      const below = rows.find((row) => row.parentObservationId === root.id);
      assert.deepEqual([below.name, below.type, below.traceName, below.traceId], [name, type, name, root.traceId]);
    }
    assert.equal(rows.length, 6);
  });

  test("is the default export, too, and what `require` gives", () => {
    assert.equal(DefaultLangfuse, Langfuse);
    const required = createRequire(import.meta.url)("langfuse-edge/v3");
    assert.equal(typeof required.Langfuse, "function");
    assert.equal(required.default, required.Langfuse);
  });
});

describe("ids", () => {
  test("that are not Langfuse's are hashed as createTraceId does it, and kept in the metadata", async () => {
    const langfuse = client();
    for (const id of ["chat-1", "Ünïcode 🎉", "6f1b1c5e-5bb5-4b6b-9c8e-0c8a5b0a7a11", "0".repeat(32), "x".repeat(200)]) {
      assert.equal(langfuse.trace({ id, name: id }).id, await createTraceId(id));
      assert.equal(own((await arrived(langfuse))[id]).externalTraceId, id);
    }
    assert.equal(langfuse.trace({ id: HEX_TRACE_ID.toUpperCase(), name: "hex" }).id, HEX_TRACE_ID);
  });

  test("name the same observation in a parent, a score and an update", async () => {
    const langfuse = client();
    langfuse.trace({ id: "t", name: "trace" });
    langfuse.span({ id: "s", traceId: "t", name: "span" });
    langfuse.generation({ id: HEX_ID, traceId: "t", parentObservationId: "s", name: "generation" }).end();
    langfuse.score({ traceId: "t", observationId: "s", name: "quality", value: 1 });
    langfuse.span({ id: "s", traceId: "t", output: "out" }).end();
    const { trace, span, generation } = await arrived(langfuse);
    assert.deepEqual([generation.id, generation.parentObservationId, span.parentObservationId], [HEX_ID, span.id, trace.id]);
    assert.deepEqual([span.output, own(span).externalId, span.id], ["out", "s", (await createTraceId("s")).slice(0, 16)]);
    const [score] = await receiver.scores();
    assert.deepEqual([score.traceId, score.observationId], [trace.traceId, span.id]);
    assert.equal((await receiver.rows()).length, 3);
  });

  test("that the client has given name observations as well", async () => {
    const langfuse = client();
    const trace = langfuse.trace({ name: "trace" });
    const span = trace.span({ name: "span" });
    assert.deepEqual([trace.observationId, span.observationId, span.traceId], [null, span.id, trace.id]);
    langfuse.generation({ traceId: trace.id, parentObservationId: span.id, name: "generation" }).end();
    span.end();
    const rows = await arrived(langfuse);
    assert.deepEqual([rows.generation.parentObservationId, rows.span.id, rows.span.traceId], [span.id, span.id, trace.id]);
  });

  test("of a trace that began elsewhere bring no root of their own", async () => {
    const langfuse = client();
    langfuse.trace({ id: "elsewhere" }).generation({ name: "here" }).end();
    langfuse.event({ traceId: "elsewhere", parentObservationId: "there", name: "below" });
    const { here, below } = await arrived(langfuse);
    assert.equal((await receiver.rows()).length, 2);
    assert.deepEqual([here.traceId, below.traceId], Array(2).fill(await createTraceId("elsewhere")));
    assert.ok(here.parentObservationId, "its input and output are not the trace's");
    assert.equal(below.parentObservationId, (await createTraceId("there")).slice(0, 16));
  });
});

describe("what is sent when", () => {
  test("flushAsync delivers the root, and nothing twice", async () => {
    const langfuse = client();
    langfuse.trace({ name: "lonely" });
    assert.equal((await langfuse.flushAsync()).delivered, 1);
    assert.equal((await langfuse.flushAsync()).delivered, 0);
  });

  test("a handler may answer before its flush is over", async () => {
    const langfuse = client();
    const pending = [];
    const handler = (question) => {
      const trace = langfuse.trace({ name: "request", input: question });
      trace.generation({ name: "answer", input: question }).end({ output: "42" });
      trace.update({ output: "42" });
      pending.push(langfuse.flushAsync());
      return "42";
    };
    assert.equal(handler("?"), "42");
    const [report] = await Promise.all(pending);
    assert.deepEqual([report.ok, report.delivered], [true, 2]);
  });

  test("of two traces at once, each is whole, whoever flushes first", async () => {
    const langfuse = client();
    const one = langfuse.trace({ name: "one", input: 1 });
    const two = langfuse.trace({ name: "two", input: 2 });
    const slow = two.generation({ name: "slow" });
    one.span({ name: "fast" }).end();
    slow.update({ model: "gpt-4o" });
    one.update({ output: 1 });
    slow.update({ input: "?" });
    assert.equal((await langfuse.flushAsync()).delivered, 2, "one and fast");
    slow.end({ output: "!" });
    two.update({ output: 2 });
    const rows = await arrived(langfuse);
    assert.deepEqual([rows.one.output, rows.two.output, rows.slow.output], ["1", "2", "!"]);
    assert.equal(rows.slow.parentObservationId, rows.two.id);
    assert.equal((await receiver.rows()).length, 4);
  });

  test("a span that nobody ends keeps no root from arriving, and can still end", async () => {
    const langfuse = client();
    const trace = langfuse.trace({ name: "trace" });
    const forgotten = trace.span({ name: "forgotten" });
    trace.span({ name: "one shot", input: "in", output: "out" });
    assert.deepEqual(Object.keys(await arrived(langfuse)).sort(), ["one shot", "trace"]);
    forgotten.end({ output: "late" });
    const rows = await arrived(langfuse);
    assert.deepEqual([rows.forgotten.output, rows.forgotten.parentObservationId], ["late", rows.trace.id]);
  });

  test("a trace with an open span waits for it, for a minute after it was last used", async () => {
    mock.timers.enable({ apis: ["Date"], now: Date.UTC(2026, 0, 1) });
    try {
      const langfuse = client();
      langfuse.trace({ name: "forgetful" }).span({ name: "forgotten" });
      const flushed = async () => {
        langfuse.trace({ name: "other" });
        return Object.keys(await arrived(langfuse)).sort();
      };
      mock.timers.tick(59_999);
      assert.deepEqual(await flushed(), ["other"]);
      mock.timers.tick(1);
      assert.deepEqual(await flushed(), ["forgetful", "other"]);
    } finally {
      mock.timers.reset();
    }
  });

  test("no root is lost when there are many and nobody flushes", async () => {
    const langfuse = client({ flushAt: 1_000_000 });
    for (let n = 0; n < 12_000; n++) langfuse.trace({ name: "many" });
    assert.equal((await langfuse.flushAsync()).delivered, 12_000);
    const levels = new Set((await receiver.rows()).map(({ level }) => level));
    assert.deepEqual([...levels], ["DEFAULT"], "none is said to have never ended");
  });

  test("what is said of a trace after its root has arrived, a second root says", async () => {
    const langfuse = client();
    const trace = langfuse.trace({ name: "trace", input: "in" });
    await arrived(langfuse);
    trace.update({ output: "out", userId: "u" }).span({ name: "more" }).end();
    assert.ok((await langfuse.flushAsync()).ok);
    const roots = (await receiver.rows()).filter(({ name }) => name === "trace");
    assert.equal(roots.length, 2);
    assert.deepEqual(roots.map(({ traceId }) => traceId), [trace.id, trace.id]);
    assert.notEqual(roots[0].id, roots[1].id);
    const { input, output, userId } = roots.find(({ userId }) => userId);
    assert.deepEqual([input, output, userId], ["in", "out", "u"]);
  });

  test("what is said after the end is ignored, with one warning", async () => {
    const warn = mock.method(console, "warn", () => {});
    const langfuse = client();
    const span = langfuse.span({ name: "span" });
    span.end({ output: "first" }).end().update({ output: "second" }).end({ output: "third" });
    const rows = await receiverRows(langfuse);
    assert.deepEqual(rows.filter(({ parentObservationId }) => parentObservationId).map(({ output }) => output), ["first"]);
    assert.equal(warn.mock.callCount(), 1);
    assert.match(warn.mock.calls[0].arguments[0], /after its end\(\) is ignored/);
  });

  test("shutdownAsync ends what is open, and the client can be used again", async () => {
    const langfuse = client();
    langfuse.trace({ name: "first" }).span({ name: "open" });
    assert.equal((await langfuse.shutdownAsync()).delivered, 2);
    langfuse.trace({ name: "second" });
    assert.equal((await langfuse.shutdownAsync()).delivered, 1);
  });

  test("sampling keeps a trace whole or not at all, with its scores", async () => {
    const none = client({ sampleRate: 0 });
    none.trace({ name: "out" }).score({ name: "s", value: 1 }).span({ name: "out" }).end();
    assert.equal((await none.flushAsync()).delivered, 0);

    const half = client({ sampleRate: 0.5 });
    for (let n = 0; n < 40; n++) half.trace({ id: `trace ${n}`, name: "half" }).span({ name: "half" }).end();
    const rows = await receiverRows(half);
    const traces = new Set(rows.map(({ traceId }) => traceId));
    assert.ok(traces.size > 5 && traces.size < 35, `${traces.size} of 40`);
    assert.equal(rows.length, 2 * traces.size);
  });

  test("by itself it sends at flushAt, and after flushInterval milliseconds what nobody touches", async () => {
    mock.timers.enable({ apis: ["setTimeout", "Date"], now: Date.UTC(2026, 0, 1) });
    // The main client's interval is as long as this one's, and does not begin a flush that this one's would have to wait for.
    mock.method(Math, "random", () => 0);
    try {
      const langfuse = client({ flushAt: 3, flushInterval: 500 });
      const reports = [];
      langfuse.on("flush", (report) => reports.push(report.delivered));
      const trace = langfuse.trace({ name: "long" });
      const open = trace.span({ name: "open" });
      for (let n = 0; n < 3; n++) trace.event({ name: "event" });
      await eventually(() => reports.length === 1);
      mock.timers.tick(500);
      await eventually(() => reports.length === 2);
      open.end();
      mock.timers.tick(500);
      await eventually(() => reports.length === 3);
      assert.deepEqual(reports, [3, 0, 2]);
    } finally {
      mock.timers.reset();
    }
  });
});

describe("options and events", () => {
  test("times are milliseconds", () => {
    client({ requestTimeout: 86_400_000 });
    assert.throws(() => client({ requestTimeout: 86_401_000 }), /timeout/);
    for (const never of [0, Infinity, -1]) client({ flushInterval: never, flushAt: Infinity });
  });

  test("a mask gets inputs and outputs as they are, and fails closed", async () => {
    const seen = [];
    const mask = ({ data }) => {
      seen.push(data);
      if (data === "bad") throw new Error("cannot");
      return typeof data === "object" ? { ...data, card: "***" } : "hidden";
    };
    const langfuse = client({ mask });
    const trace = langfuse.trace({ name: "trace", input: { card: 1, a: 2 }, metadata: { kept: "yes" } });
    trace.span({ name: "span", input: "text" }).end({ output: "bad" });
    const { trace: root, span } = await arrived(langfuse);
    assert.deepEqual(seen, [{ card: 1, a: 2 }, "text", "bad"]);
    assert.deepEqual([root.input, own(root).kept], ['{"card":"***","a":2}', "yes"]);
    assert.deepEqual([span.input, span.output], ["hidden", "<fully masked due to failed mask function>"]);
  });

  test("a flush that fails is an error event, or a warning when nobody listens, and rejects nothing", async () => {
    const warn = mock.method(console, "warn", () => {});
    const langfuse = client({ baseUrl: await nobodyListens() });
    langfuse.trace({ name: "lost" });
    assert.equal((await langfuse.flushAsync({ timeoutMs: 50 })).retained, 1);
    assert.match(warn.mock.calls[0].arguments[0], /0 delivered, 0 rejected, 1 retained/);

    const errors = [];
    const stop = langfuse.on("error", (error) => errors.push(error));
    await langfuse.flushAsync({ timeoutMs: 50 });
    stop();
    assert.deepEqual(errors.map(({ report }) => report.retained), [1]);
    assert.equal(warn.mock.callCount(), 1);
  });

  test("flush takes a callback, debug says what happens, and a listener that throws breaks nothing", async () => {
    const log = mock.method(console, "log", () => {});
    const warn = mock.method(console, "warn", () => {});
    const langfuse = client();
    langfuse.debug();
    langfuse.on("flush", () => {
      throw new Error("listener");
    });
    langfuse.trace({ name: "trace" });
    const [error, report] = await new Promise((resolve) => langfuse.flush((...args) => resolve(args)));
    assert.deepEqual([error, report.delivered], [undefined, 1]);
    assert.match(log.mock.calls[0].arguments.join(" "), /flush .*"delivered":1/);
    assert.equal(warn.mock.callCount(), 1);
  });

  test("the URL of a trace is asked for, and has the id that Langfuse knows it by", async () => {
    const langfuse = new Langfuse(receiver.options);
    const trace = langfuse.trace({ id: "order 5", name: "t" });
    const url = await trace.getTraceUrl();
    assert.match(url, new RegExp(`^${receiver.url}/project/[^/]+/traces/${trace.id}$`));
    assert.equal(await trace.span({ name: "s" }).getTraceUrl(), url);
    assert.equal(await langfuse.getTraceUrl("order 5"), url);
  });

  test("a disabled client is as chatty as any other, and does nothing", async () => {
    const langfuse = new Langfuse({ enabled: false });
    const generation = langfuse.trace({ id: "t", name: "t" }).span({ name: "s" }).generation({ name: "g" });
    generation.update({ output: 1 }).end().score({ name: "s", value: 1 });
    assert.match(generation.id, /^[\da-f]{16}$/);
    assert.deepEqual([(await langfuse.flushAsync()).ok, (await langfuse.shutdownAsync()).requests], [true, 0]);
  });
});

/** What each row is, and below which other. */
function tree(rows) {
  const byId = Object.fromEntries(Object.values(rows).map(({ id, name }) => [id, name]));
  const place = ({ type, parentObservationId: parent }) => (parent ? `${type} below ${byId[parent]}` : type);
  return Object.fromEntries(Object.entries(rows).map(([name, row]) => [name, place(row)]));
}

/** Flushes, and gives all rows that the receiver has. */
async function receiverRows(langfuse) {
  assert.ok((await langfuse.flushAsync()).ok);
  return receiver.rows();
}

/** Until something holds, by turns of the event loop: the clock stands still. */
async function eventually(probe) {
  const until = performance.now() + 10_000;
  while (!probe()) {
    assert.ok(performance.now() < until, `never: ${probe}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
