// What is recorded, as it arrives: attributes, kinds, times, ids.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Langfuse } from "langfuse-edge";

import { ownMetadata, receiver, recorded, recordedOne } from "./support/recorded.mjs";

const TRACE_ID = "0af7651916cd43dd8448eb211c80319c";
const PARENT_ID = "b7ad6b7169203331";

/** The type of each attribute on the wire, such as `stringValue`. */
const wireTypes = ({ otlpAttributes }) =>
  Object.fromEntries(otlpAttributes.map(({ key, value }) => [key, Object.keys(value).join()]));

describe("attributes", () => {
  test("each of them arrives under its key and in its type", async () => {
    const row = await recordedOne(
      {
        input: [{ role: "user", content: "?" }],
        output: "plain text",
        metadata: { plan: "pro", seats: 3 },
        level: "WARNING",
        statusMessage: "slow",
        version: "1.2.3",
        environment: "staging",
        model: "gpt-4o",
        modelParameters: { temperature: 0.5, stop: "END" },
        usageDetails: { input: 5, output: 7, input_cached_tokens: 2 },
        costDetails: { input: 0.1, output: 0.2 },
        completionStartTime: new Date("2026-01-02T03:04:05.678Z"),
        prompt: { name: "greeting", version: 4 },
      },
      { asType: "generation" },
      { release: "r1" },
    );
    assert.deepEqual(row.attributes, {
      "langfuse.observation.type": "generation",
      "langfuse.observation.input": '[{"role":"user","content":"?"}]',
      "langfuse.observation.output": "plain text",
      "langfuse.observation.metadata.plan": "pro",
      "langfuse.observation.metadata.seats": "3",
      "langfuse.observation.level": "WARNING",
      "langfuse.observation.status_message": "slow",
      "langfuse.observation.model.name": "gpt-4o",
      "langfuse.observation.model.parameters": '{"temperature":0.5,"stop":"END"}',
      "langfuse.observation.usage_details": '{"input":5,"output":7,"input_cached_tokens":2}',
      "langfuse.observation.cost_details": '{"input":0.1,"output":0.2}',
      "langfuse.observation.completion_start_time": "2026-01-02T03:04:05.678Z",
      "langfuse.observation.prompt.name": "greeting",
      "langfuse.observation.prompt.version": 4,
      "langfuse.version": "1.2.3",
      "langfuse.environment": "staging",
      "langfuse.release": "r1",
      "langfuse.internal.is_app_root": true,
    });
    const types = wireTypes(row);
    assert.equal(row.otlpAttributes.length, Object.keys(types).length, "no key comes twice");
    const { "langfuse.observation.prompt.version": version, "langfuse.internal.is_app_root": root, ...texts } = types;
    assert.deepEqual([version, root], ["intValue", "boolValue"]);
    assert.deepEqual([...new Set(Object.values(texts))], ["stringValue"]);

    assert.equal(row.type, "GENERATION");
    assert.equal(row.providedModelName, "gpt-4o");
    assert.deepEqual(row.modelParameters, { temperature: 0.5, stop: "END" });
    assert.deepEqual(row.usageDetails, { input: 5, output: 7, input_cached_tokens: 2, total: 14 });
    assert.deepEqual(row.costDetails.input, 0.1);
    assert.equal(row.completionStartTime, "2026-01-02T03:04:05.678Z");
    assert.deepEqual([row.promptName, row.promptVersion], ["greeting", 4]);
    assert.deepEqual([row.level, row.statusMessage], ["WARNING", "slow"]);
    assert.deepEqual([row.environment, row.version, row.release], ["staging", "1.2.3", "r1"]);
    assert.deepEqual(ownMetadata(row), { plan: "pro", seats: "3" });
    assert.equal(row.sdkName, "langfuse-edge");
    assert.match(row.scope.name, /^langfuse-sdk/);
  });

  test("without any, type and place are all that is sent", async () => {
    const row = await recordedOne();
    assert.deepEqual(row.attributes, { "langfuse.observation.type": "span", "langfuse.internal.is_app_root": true });
    assert.deepEqual([row.name, row.type, row.level, row.input, row.output], ["one", "SPAN", "DEFAULT", null, null]);
  });

  test("the client's environment counts where an observation has none, and never twice", async () => {
    const rows = await recorded(
      (langfuse) => {
        langfuse.startObservation("client's").end();
        langfuse.startObservation("own", { environment: "canary" }).end();
      },
      { environment: "production" },
    );
    for (const [name, environment] of [["client's", "production"], ["own", "canary"]]) {
      const row = rows.find((row) => row.name === name);
      assert.equal(row.environment, environment);
      assert.equal(row.otlpAttributes.filter(({ key }) => key === "langfuse.environment").length, 1);
    }
  });

  test("levels", async () => {
    for (const level of ["DEBUG", "DEFAULT", "WARNING", "ERROR"]) {
      await receiver.reset();
      assert.equal((await recordedOne({ level })).level, level);
    }
  });

  test("strings stay as they are, everything else becomes JSON", async () => {
    for (const [value, text] of [
      ["", ""],
      ['{"already":"json"}', '{"already":"json"}'],
      ["héllo 你好 🎉", "héllo 你好 🎉"],
      [0, "0"],
      [false, "false"],
      [NaN, "null"],
      [[1, "x", null], '[1,"x",null]'],
      [{ a: { b: "ü" } }, '{"a":{"b":"ü"}}'],
      [new Date(0), '"1970-01-01T00:00:00.000Z"'],
      [{ toJSON: () => "text" }, '"text"'],
    ]) {
      await receiver.reset();
      const { attributes } = await recordedOne({ input: value, output: value });
      assert.equal(attributes["langfuse.observation.input"], text);
      assert.equal(attributes["langfuse.observation.output"], text);
    }
    for (const absent of [undefined, null]) {
      await receiver.reset();
      const { attributes } = await recordedOne({ input: absent, output: absent, model: absent, metadata: absent });
      assert.deepEqual(Object.keys(attributes), ["langfuse.internal.is_app_root", "langfuse.observation.type"]);
    }
  });

  test("metadata: strings unquoted, others JSON, absent values left out", async () => {
    const row = await recordedOne({
      metadata: { text: "t", quoted: '"q"', number: 1.5, yes: true, list: [1], deep: { a: 1 }, none: null, undef: undefined },
    });
    const sent = Object.entries(row.attributes)
      .filter(([key]) => key.startsWith("langfuse.observation.metadata."))
      .map(([key, value]) => [key.slice("langfuse.observation.metadata.".length), value]);
    assert.deepEqual(Object.fromEntries(sent), {
      text: "t",
      quoted: '"q"',
      number: "1.5",
      yes: "true",
      list: "[1]",
      deep: '{"a":1}',
    });
  });

  test("metadata under names that the server takes for itself is not lost", async () => {
    const row = await recordedOne({
      metadata: {
        attributes: "a",
        resourceAttributes: "r",
        scope: "s",
        ["__proto__"]: "p",
        constructor: "c",
        "x.prototype.y": "d",
        "": "empty",
        "with space.and.dots": "n",
      },
    });
    assert.deepEqual(ownMetadata(row), {
      attributes_: "a",
      resourceAttributes_: "r",
      scope_: "s",
      __proto___: "p",
      constructor_: "c",
      "x.prototype_.y": "d",
      _: "empty",
      "with space.and.dots": "n",
    });
    assert.equal(row.metadata["scope.name"], row.scope.name);
  });

  test("metadata that is no object is kept under the name value", async () => {
    for (const [metadata, value] of [["text", "text"], [7, "7"], [[1, 2], "[1,2]"], [false, "false"]]) {
      await receiver.reset();
      assert.deepEqual(ownMetadata(await recordedOne({ metadata })), { value });
    }
  });

  test("what is not of its attribute's type is left out", async () => {
    const { attributes } = await recordedOne({
      level: 3,
      statusMessage: { text: "no" },
      model: 4,
      version: true,
      environment: [],
      modelParameters: "hot",
      usageDetails: [5, 7],
      costDetails: 0.5,
      completionStartTime: "yesterday",
      prompt: "greeting",
    });
    assert.deepEqual(Object.keys(attributes), ["langfuse.internal.is_app_root", "langfuse.observation.type"]);
    for (const wrong of ["attributes", 5, true, Symbol("s")]) {
      await receiver.reset();
      assert.equal(Object.keys((await recordedOne(wrong)).attributes).length, 2);
    }
  });

  test("costs that are negative or no number are left out", async () => {
    const { attributes } = await recordedOne({ costDetails: { input: 0.1, output: -1, total: Infinity, a: NaN, b: "1", c: 0 } });
    assert.equal(attributes["langfuse.observation.cost_details"], '{"input":0.1,"c":0}');
  });

  test("a prompt: versions as numbers or text, no fallbacks, nothing out of range", async () => {
    const versions = [[1, 1], ["2", 2], [65535, 65535], [65536, undefined], [-1, undefined], [1.5, undefined], ["v3", undefined]];
    for (const [version, sent] of versions) {
      await receiver.reset();
      const { attributes } = await recordedOne({ prompt: { name: "p", version } }, { asType: "generation" });
      assert.equal(attributes["langfuse.observation.prompt.version"], sent, `version ${version}`);
    }
    for (const prompt of [{ name: "p", version: 1, isFallback: true }, { version: 1 }, { name: "p" }]) {
      await receiver.reset();
      const { attributes } = await recordedOne({ prompt }, { asType: "generation" });
      assert.ok(!("langfuse.observation.prompt.name" in attributes), JSON.stringify(prompt));
    }
  });

  test("OpenAI's usage object is understood", async () => {
    const usageDetails = { prompt_tokens: 9, completion_tokens: 12, total_tokens: 21 };
    const row = await recordedOne({ usageDetails }, { asType: "generation" });
    assert.deepEqual(row.usageDetails, { input: 9, output: 12, total: 21 });
  });
});

describe("kinds and times", () => {
  const KINDS = ["span", "generation", "event", "agent", "tool", "chain", "retriever", "evaluator", "embedding", "guardrail"];

  test("all ten kinds, by their names", async () => {
    const rows = await recorded((langfuse) => {
      for (const asType of KINDS) {
        const observation = langfuse.startObservation(asType, {}, { asType });
        assert.equal(observation.type, asType);
        observation.end();
      }
    });
    assert.equal(rows.length, KINDS.length, "an event is not recorded again when it is ended");
    for (const { name, type, attributes } of rows) {
      assert.equal(type, name.toUpperCase());
      assert.equal(attributes["langfuse.observation.type"], name);
    }
  });

  test("an unknown kind becomes a span and a warning that names the known ones", async (t) => {
    const warn = t.mock.method(console, "warn", () => {});
    for (const asType of ["Generation", "llm", ""]) {
      await receiver.reset();
      warn.mock.resetCalls();
      const row = await recordedOne({ input: "kept" }, { asType });
      assert.deepEqual([row.type, row.input], ["SPAN", "kept"]);
      assert.equal(warn.mock.callCount(), 1);
      assert.match(warn.mock.calls[0].arguments[0], /^langfuse-edge: asType must be one of span, generation, .*guardrail$/);
    }
  });

  test("an event ends when it starts", async () => {
    const langfuse = new Langfuse(receiver.options);
    const event = langfuse.startObservation("click", { input: 1 }, { asType: "event" });
    event.update({ input: 2 });
    assert.equal((await langfuse.flush()).delivered, 1);
    const [row] = await receiver.rows();
    assert.deepEqual([row.type, row.input], ["EVENT", "1"]);
    assert.equal(Number(row.endTimeUnixNano) - Number(row.startTimeUnixNano) < 1e9, true);
  });

  test("start and end as Date and as milliseconds", async () => {
    const [start, end] = [1_700_000_000_123, 1_700_000_001_456];
    for (const time of [(ms) => new Date(ms), (ms) => ms]) {
      await receiver.reset();
      const [row] = await recorded((langfuse) =>
        langfuse.startObservation("timed", {}, { startTime: time(start) }).end(time(end)),
      );
      assert.deepEqual([row.startTimeUnixNano, row.endTimeUnixNano], [`${start}000000`, `${end}000000`]);
      assert.deepEqual([row.startTime, row.endTime], [new Date(start).toISOString(), new Date(end).toISOString()]);
    }
  });

  test("without them it is now, and a time that is none counts as absent", async () => {
    for (const none of [undefined, null, NaN, -1, new Date(NaN), "2026-01-01", {}]) {
      await receiver.reset();
      const before = Date.now();
      const [row] = await recorded((langfuse) => langfuse.startObservation("now", {}, { startTime: none }).end(none));
      const [start, end] = [Date.parse(row.startTime), Date.parse(row.endTime)];
      assert.ok(before <= start && start <= end && end <= Date.now(), `${String(none)}: ${row.startTime}`);
    }
  });

  test("an end before the start gives no negative duration", async () => {
    const [row] = await recorded((langfuse) => langfuse.startObservation("back", {}, { startTime: 2_000 }).end(1_000));
    assert.equal(row.startTime, row.endTime);
  });

  test("a child does not begin before its parent when the clock is set back between them", async () => {
    const later = Date.now() + 60_000;
    const rows = await recorded((langfuse) => {
      const parent = langfuse.startObservation("parent", {}, { startTime: later });
      parent.startObservation("child").end();
      parent.end();
    });
    assert.deepEqual(rows.map(({ startTime }) => startTime), Array(2).fill(new Date(later).toISOString()));
  });
});

describe("places in a trace", () => {
  test("children share the trace and know their parent", async () => {
    let ids;
    const rows = await recorded((langfuse) => {
      const root = langfuse.startObservation("root");
      const child = root.startObservation("child", {}, { asType: "agent" });
      const grandchild = child.startObservation("grandchild", {}, { asType: "tool" });
      for (const observation of [grandchild, child, root]) observation.end();
      ids = { root: root.id, child: child.id, trace: new Set([root, child, grandchild].map(({ traceId }) => traceId)) };
      langfuse.startObservation("another root").end();
    });
    const row = Object.fromEntries(rows.map((row) => [row.name, row]));
    assert.equal(ids.trace.size, 1);
    assert.equal(row.root.id, ids.root);
    assert.deepEqual([row.root.parentObservationId, row.child.parentObservationId, row.grandchild.parentObservationId], [null, ids.root, ids.child]);
    assert.deepEqual([row.root.isAppRoot, row.child.isAppRoot, row.grandchild.isAppRoot], [true, false, false]);
    assert.ok([row.root, row.child, row.grandchild].every(({ traceId }) => ids.trace.has(traceId)));
    assert.notEqual(row["another root"].traceId, row.root.traceId);
  });

  test("a child may outlive its parent", async () => {
    const rows = await recorded((langfuse) => {
      const root = langfuse.startObservation("root");
      root.end();
      root.startObservation("late child").end();
    });
    assert.deepEqual(rows.map(({ name, parentObservationId }) => [name, parentObservationId]), [["root", null], ["late child", rows[0].id]]);
  });

  test("a trace that began elsewhere is continued", async () => {
    for (const [traceId, spanId] of [[TRACE_ID, PARENT_ID], [TRACE_ID.toUpperCase(), PARENT_ID.toUpperCase()]]) {
      await receiver.reset();
      const row = await recordedOne({}, { parentSpanContext: { traceId, spanId } });
      assert.deepEqual([row.traceId, row.parentObservationId, row.isAppRoot], [TRACE_ID, PARENT_ID, true]);
    }
  });

  test("a place that cannot be is one warning and a new trace", async (t) => {
    const warn = t.mock.method(console, "warn", () => {});
    const zeros = (digits) => "0".repeat(digits);
    for (const parentSpanContext of [
      {},
      "text",
      { traceId: TRACE_ID },
      { traceId: TRACE_ID.slice(1), spanId: PARENT_ID },
      { traceId: zeros(32), spanId: PARENT_ID },
      { traceId: TRACE_ID, spanId: zeros(16) },
      { traceId: TRACE_ID, spanId: "x".repeat(16) },
      { traceId: 5, spanId: PARENT_ID },
    ]) {
      await receiver.reset();
      warn.mock.resetCalls();
      const row = await recordedOne({}, { parentSpanContext });
      assert.notEqual(row.traceId, TRACE_ID);
      assert.equal(row.parentObservationId, null);
      assert.equal(warn.mock.callCount(), 1, JSON.stringify(parentSpanContext));
      assert.match(warn.mock.calls[0].arguments[0], /^langfuse-edge: .*hex digits, not all zero/);
    }
  });

  test("10,000 ids are well-formed and differ", () => {
    const langfuse = new Langfuse(receiver.options);
    const [traces, observations] = [new Set(), new Set()];
    for (let n = 0; n < 10_000; n++) {
      const observation = langfuse.startObservation("id");
      assert.match(observation.traceId, /^(?!0{32})[0-9a-f]{32}$/);
      assert.match(observation.id, /^(?!0{16})[0-9a-f]{16}$/);
      traces.add(observation.traceId);
      observations.add(observation.id);
      observation.free();
    }
    assert.deepEqual([traces.size, observations.size], [10_000, 10_000]);
  });
});

describe("updates and the end", () => {
  test("an update replaces what it names, merges metadata by name, and returns the same object", async () => {
    const [row] = await recorded((langfuse) => {
      const observation = langfuse.startObservation("one", { input: "first", output: "first", metadata: { a: 1, b: 1 } });
      assert.equal(observation.update({ output: "second", metadata: { b: 2, c: 2 } }), observation);
      assert.equal(observation.update({}).update({ model: "m" }).update(undefined), observation);
      observation.end();
    });
    assert.deepEqual([row.input, row.output, row.providedModelName], ["first", "second", "m"]);
    assert.deepEqual(ownMetadata(row), { a: "1", b: "2", c: "2" });
  });

  test("after the end, update and end do nothing", async () => {
    const rows = await recorded((langfuse) => {
      const observation = langfuse.startObservation("one", { output: "kept" }, { startTime: 1_000 });
      observation.end(2_000);
      assert.equal(observation.update({ output: "late", level: "ERROR" }), observation);
      observation.end(3_000);
      observation.end();
    });
    assert.deepEqual(rows.map(({ output, level, endTime }) => [output, level, endTime]), [["kept", "DEFAULT", new Date(2_000).toISOString()]]);
  });

  test("what has not ended is not sent", async () => {
    const langfuse = new Langfuse(receiver.options);
    const open = langfuse.startObservation("open");
    const report = await langfuse.flush();
    assert.deepEqual([report.ok, report.delivered, report.requests], [true, 0, 0]);
    open.end();
    assert.equal((await langfuse.flush()).delivered, 1);
  });

  test("a child of an observation that has ended is below it, and says of their trace what that said last", async () => {
    const langfuse = new Langfuse(receiver.options);
    const root = langfuse.startObservation("root", { input: "in" }, { asType: "agent" });
    root.startObservation("before").end();
    root.setTraceAsPublic().end();
    const late = root.startObservation("late", {}, { asType: "tool" });
    late.startObservation("deeper").end();
    late.end();
    assert.deepEqual([root.type, late.type, late.traceId], ["agent", "tool", root.traceId]);
    assert.equal((await langfuse.flush()).delivered, 4);
    const rows = await receiver.rows();
    assert.ok(rows.every(({ traceId }) => traceId === root.traceId));
    const said = Object.fromEntries(rows.map((row) => [row.name, [row.type, row.parentObservationId, row.public]]));
    assert.deepEqual(said, {
      root: ["AGENT", null, true],
      before: ["SPAN", root.id, false],
      late: ["TOOL", root.id, true],
      deeper: ["SPAN", late.id, true],
    });
  });

  test("an observation that is freed while it is open arrives with a warning, also by `using`, and one that has ended as it was", async () => {
    const langfuse = new Langfuse(receiver.options);
    const [freed, disposed, ended] = ["freed", "disposed", "ended"].map((name) => langfuse.startObservation(name, { input: "kept" }));
    freed.free();
    disposed[Symbol.dispose]();
    ended.end();
    for (const observation of [freed, disposed, ended]) {
      observation.free();
      observation.update({ output: "late" }).end();
    }
    assert.equal((await langfuse.flush()).delivered, 3);
    const said = Object.fromEntries((await receiver.rows()).map(({ name, input, output, level, statusMessage }) => [name, [input, output, level, statusMessage]]));
    const warning = ["kept", null, "WARNING", "never ended"];
    assert.deepEqual(said, { freed: warning, disposed: warning, ended: ["kept", null, "DEFAULT", null] });
  });
});
