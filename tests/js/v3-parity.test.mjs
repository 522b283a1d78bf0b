// The same program, with version 3 of Langfuse's own client and with langfuse-edge/v3, says the same. What version 3 sends as events
// is put together here as a server of its time does it.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, beforeEach, describe, test } from "node:test";

import * as edge from "langfuse-edge/v3";
import * as original from "langfuse";

import { KEYS, startReceiver } from "./support/receiver.mjs";

const PROGRAMS = {
  chatbot(langfuse) {
    const trace = langfuse.trace({
      name: "chat",
      userId: "u-1",
      sessionId: "s-1",
      input: { q: "?" },
      tags: ["b", "a"],
      metadata: { plan: "pro", n: 1 },
    });
    const retrieval = trace.span({ name: "retrieval", input: "?", metadata: { top: 3 } });
    retrieval.event({ name: "cache miss", level: "WARNING", statusMessage: "cold", input: [1] });
    retrieval.end({ output: ["doc"] });
    const llm = trace.generation({
      name: "llm",
      model: "gpt-4o",
      modelParameters: { temperature: 0.5, max_tokens: 100 },
      input: [{ role: "user", content: "?" }],
      prompt: { name: "bot", version: 7, isFallback: false },
      completionStartTime: new Date(Date.UTC(2026, 0, 1)),
    });
    llm.end({ output: "42", usage: { promptTokens: 3, completionTokens: 4, totalTokens: 7 } });
    llm.score({ name: "quality", value: 0.5, comment: "half" });
    trace.score({ name: "helpful", value: "yes" });
    trace.update({ output: "42", tags: ["c"], metadata: { done: true } });
  },
  updates(langfuse) {
    const trace = langfuse.trace({ name: "first", version: "1", public: true }).update({ name: "job", version: "2" });
    const span = trace.span({ name: "step", version: "9", metadata: { a: 1 } });
    span.update({ metadata: { b: { c: 2 } }, input: "?" }).update({ level: "DEBUG" });
    span.generation({ name: "inner", usage: { input: 1, output: 2, total: 3, unit: "TOKENS", inputCost: 0.5, outputCost: 0.25 } }).end();
    span.end({ output: { late: true }, statusMessage: "fine" });
  },
  errors(langfuse) {
    const trace = langfuse.trace({ name: "failing" });
    trace.span({ name: "tool" }).end({ level: "ERROR", statusMessage: "Error: no such file" });
    trace.event({ name: "alarm", level: "ERROR" });
    trace.generation({ name: "given up", prompt: { name: "bot", version: 7, isFallback: true } }).end({ output: null });
  },
  "after the fact"(langfuse) {
    const at = (second) => new Date(Date.UTC(2026, 0, 2, 3, 4, second));
    const trace = langfuse.trace({ name: "imported", timestamp: at(0), release: "r-1" });
    const counts = { usageDetails: { input: 1, cached: 2 }, costDetails: { total: 0.1 } };
    trace.generation({ name: "done", startTime: at(1), endTime: at(3), output: "x", ...counts });
    trace.event({ name: "point", startTime: at(2), metadata: "a text" });
  },
  "by ids"(langfuse) {
    langfuse.trace({ id: "conversation", name: "by ids" });
    langfuse.span({ id: "outer", traceId: "conversation", name: "outer" });
    langfuse.generation({ id: "inner", traceId: "conversation", parentObservationId: "outer", name: "inner" }).end({ output: 1 });
    langfuse.span({ id: "outer", traceId: "conversation", output: "done" }).end();
    langfuse.score({ id: "score", traceId: "conversation", observationId: "inner", name: "quality", value: 1, dataType: "BOOLEAN" });
  },
  "two traces at once"(langfuse) {
    const [one, two] = ["one", "two"].map((name) => langfuse.trace({ name, userId: name }));
    const [a, b] = [one.span({ name: "a" }), two.span({ name: "b" })];
    b.generation({ name: "c" }).end({ output: "c" });
    a.end({ output: "a" });
    b.end({ output: "b" });
    two.update({ output: 2 });
    one.update({ output: 1 });
  },
  masked(langfuse) {
    const trace = langfuse.trace({ name: "masked", input: { secret: "s", open: "o" }, metadata: { secret: "stays" } });
    trace.span({ name: "span", input: "secret" }).end({ output: ["secret"] });
  },
};
const OPTIONS = {
  environment: "production",
  release: "r-0",
  mask: ({ data }) => (data === null ? data : JSON.parse(JSON.stringify(data).replaceAll('"secret":"s"', '"secret":"***"'))),
};

let receiver, oldServer;
before(async () => {
  [receiver, oldServer] = await Promise.all([startReceiver(), startOldServer()]);
});
after(async () => {
  await Promise.all([receiver.stop(), oldServer.stop()]);
});
beforeEach(() => receiver.reset());

describe("as with version 3 itself, there arrives what is said by", () => {
  for (const [name, program] of Object.entries(PROGRAMS)) {
    test(name, async () => {
      const old = new original.Langfuse({ ...KEYS, ...OPTIONS, baseUrl: oldServer.url, flushAt: 1000 });
      program(old);
      await old.shutdownAsync();
      const now = new edge.Langfuse({ ...receiver.options, ...OPTIONS });
      program(now);
      assert.ok((await now.flushAsync()).ok);
      const expected = saidThen(oldServer.take());
      assert.ok(expected.length > 1);
      assert.deepEqual(saidNow(await receiver.rows(), await receiver.scores()), expected);
    });
  }
});

/** Takes events, as a server did that knew version 3. */
async function startOldServer() {
  let events = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    events.push(...JSON.parse(body).batch);
    response.writeHead(207, { "content-type": "application/json" }).end('{"successes":[],"errors":[]}');
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    take: () => events.splice(0),
    stop: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** As text, in which both say values. */
const text = (value) => (value === undefined || value === null ? null : typeof value === "string" ? value : JSON.stringify(value));
const texts = (values) => present(typeof values === "object" ? values : { value: values }, text);
const present = (values, as = (value) => value) => {
  const entries = Object.entries(values ?? {}).filter(([, value]) => value !== undefined && value !== null);
  return Object.fromEntries(entries.map(([name, value]) => [name, as(value)]));
};
/** A time that the program has said, which no test runs at. */
const saidTime = (time) => (new Date(time) < new Date("2026-01-03") ? new Date(time).toISOString() : null);
const sorted = (lines) => lines.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));

/** The traces, observations and scores that events of version 3 make. */
function saidThen(events) {
  const found = new Map();
  for (const { type, body } of events) {
    const known = found.get(body.id) ?? { kind: type.split("-")[0] };
    const newer = present(body);
    for (const name of ["metadata", "tags"]) {
      const [a, b] = [known[name], newer[name]];
      if (a && b) newer[name] = name === "tags" ? [...a, ...b] : { ...a, ...b };
    }
    found.set(body.id, { ...known, ...newer });
  }
  const said = ({ kind, name, ...one }) => {
    const above = found.get(one.observationId ?? one.parentObservationId ?? one.traceId)?.name;
    if (kind === "score") {
      return { kind, name, above, value: one.value, comment: one.comment ?? null };
    }
    const { environment, metadata } = one;
    const common = { name, input: text(one.input), output: text(one.output), environment, metadata: texts(metadata) };
    if (kind === "trace") {
      const { userId = null, sessionId = null, tags = [], release, version = null, public: isPublic = false, timestamp } = one;
      return { kind, ...common, userId, sessionId, tags, release, version, isPublic, start: saidTime(timestamp) };
    }
    const { promptTokens, completionTokens, totalTokens, inputCost, outputCost, input, output, total } = one.usage ?? {};
    const usage = present({ input: input ?? promptTokens, output: output ?? completionTokens, total: total ?? totalTokens });
    return {
      kind: kind.toUpperCase(),
      ...common,
      above,
      level: one.level ?? "DEFAULT",
      statusMessage: one.statusMessage ?? null,
      // A trace's own counts for observations that have none.
      version: one.version ?? found.get(one.traceId).version ?? null,
      model: one.model ?? null,
      modelParameters: one.modelParameters ?? {},
      usage: one.usageDetails ?? usage,
      cost: one.costDetails ?? present({ input: inputCost, output: outputCost }),
      prompt: [one.promptName ?? null, one.promptVersion ?? null],
      firstToken: one.completionStartTime ?? null,
      start: saidTime(one.startTime),
      // An event of version 3 has none.
      end: kind === "event" ? saidTime(one.startTime) : one.endTime ? saidTime(one.endTime) : null,
    };
  };
  return sorted([...found.values()].map(said));
}

/** The same of what has arrived. */
function saidNow(rows, scores) {
  // A root keeps the name it began with.
  const names = rows.map(({ id, name, traceName, parentObservationId }) => [id, parentObservationId ? name : traceName]);
  const nameOf = (id) => Object.fromEntries(names)[id];
  const said = ({ name, attributes, ...row }) => {
    // The ids that Langfuse knows by others are there, too.
    const metadata = (of) =>
      Object.fromEntries(
        Object.entries(attributes)
          .filter(([key]) => key.startsWith(`langfuse.${of}.metadata.`) && !/\.external(Trace)?Id$/.test(key))
          .map(([key, value]) => [key.slice(`langfuse.${of}.metadata.`.length), value]),
      );
    const object = (key) => JSON.parse(attributes[`langfuse.observation.${key}`] ?? "{}");
    const { input, output, environment, version, startTime, endTime } = row;
    const common = { name, input, output, environment };
    if (!row.parentObservationId) {
      const { userId, sessionId, tags, release, public: isPublic } = row;
      const start = saidTime(startTime);
      return { kind: "trace", ...common, name: row.traceName, metadata: metadata("trace"), userId, sessionId, tags, release, version, isPublic, start };
    }
    return {
      kind: row.type,
      ...common,
      metadata: metadata("observation"),
      above: nameOf(row.parentObservationId),
      level: row.level,
      statusMessage: row.statusMessage,
      version,
      model: row.providedModelName,
      modelParameters: object("model.parameters"),
      usage: object("usage_details"),
      cost: object("cost_details"),
      prompt: [row.promptName, row.promptVersion],
      firstToken: row.completionStartTime,
      start: saidTime(startTime),
      end: saidTime(endTime),
    };
  };
  const lines = scores.map(({ name, observationId, traceId, value, comment }) => {
    const root = rows.find((row) => row.traceId === traceId && !row.parentObservationId);
    return { kind: "score", name, above: nameOf(observationId ?? root.id), value, comment };
  });
  return sorted([...rows.map(said), ...lines]);
}
