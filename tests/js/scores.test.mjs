// Scores and scoped flushes, as they arrive.
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, mock, test } from "node:test";

import { Langfuse, setLangfuse, step } from "langfuse-edge";

import { startReceiver } from "./support/receiver.mjs";

const TRACE_ID = "0af7651916cd43dd8448eb211c80319c";

let receiver;
before(async () => (receiver = await startReceiver()));
after(() => receiver.stop());
beforeEach(() => receiver.reset());

const client = (options) => new Langfuse({ ...receiver.options, ...options });

/** Creates scores, flushes, and gives the scores that have arrived, by name. */
async function scored(create, options) {
  const langfuse = client(options);
  create(langfuse.score, langfuse);
  const report = await langfuse.flush();
  assert.ok(report.ok, JSON.stringify(report));
  return Object.fromEntries((await receiver.scores()).map((score) => [score.name, score]));
}

describe("scores", () => {
  test("travel in the same flush as observations", async () => {
    const langfuse = client();
    const observation = langfuse.startObservation("answer");
    observation.end();
    langfuse.score.observation(observation, { name: "quality", value: 0.5, comment: "half good" });
    langfuse.score.trace(observation, { name: "helpful", value: "yes" });
    const report = await langfuse.flush();
    assert.equal(report.ok, true);
    assert.equal(report.requests, 2);
    const [quality, helpful] = await receiver.scores();
    const { traceId, id: observationId } = observation;
    assert.deepEqual(
      [quality.traceId, quality.observationId, quality.value, quality.comment, quality.dataType],
      [traceId, observationId, 0.5, "half good", "NUMERIC"],
    );
    assert.deepEqual(
      [helpful.traceId, helpful.observationId, helpful.value, helpful.dataType],
      [traceId, null, "yes", "CATEGORICAL"],
    );
  });

  test("can be of a session or a run of a dataset, and of every type", async () => {
    const { one, two, three, four } = await scored((score) => {
      score.create({ name: "one", value: true, sessionId: "s-1", metadata: { by: ["me"] } });
      score.create({ name: "two", value: "fine", dataType: "TEXT", datasetRunId: "run" });
      score.create({ name: "three", value: 1, traceId: "not an id of ours", id: "mine" });
      score.create({ name: "four", value: false, dataType: "BOOLEAN", traceId: TRACE_ID, environment: "own" });
    }, { environment: "staging" });
    assert.deepEqual([one.value, one.dataType, one.sessionId, one.metadata], [1, "BOOLEAN", "s-1", { by: ["me"] }]);
    assert.deepEqual([one.environment, four.environment], ["staging", "own"]);
    assert.deepEqual([two.value, two.dataType, two.datasetRunId], ["fine", "TEXT", "run"]);
    assert.deepEqual([three.traceId, three.id], ["not an id of ours", "mine"]);
    assert.deepEqual([four.value, four.traceId], [0, TRACE_ID]);
  });

  test("that are recorded twice are one score", async () => {
    const langfuse = client();
    for (let round = 0; round < 2; round++) {
      langfuse.score.create({ name: "quality", value: 1, traceId: TRACE_ID });
      assert.ok((await langfuse.flush()).ok);
    }
    assert.equal((await receiver.scores()).length, 1);
  });

  test("of the current observation and its trace need no id", async () => {
    const langfuse = client();
    setLangfuse(langfuse);
    const observation = await step("answer", async (observation) => {
      await null;
      langfuse.score.activeObservation({ name: "quality", value: 1 });
      langfuse.score.activeTrace({ name: "helpful", value: 1 });
      return observation;
    });
    assert.ok((await langfuse.flush()).ok);
    const scores = await receiver.scores();
    assert.deepEqual(
      scores.map(({ name, traceId, observationId }) => [name, traceId, observationId]).sort(),
      [
        ["helpful", observation.traceId, null],
        ["quality", observation.traceId, observation.id],
      ],
    );
  });

  test("that the server refuses are reported, and those it puts off are sent again", async () => {
    await receiver.fault({
      route: "ingestion",
      first: 1,
      eventErrors: [
        { name: "refused", status: 400, message: "not like that" },
        { name: "later", status: 500, message: "not now" },
      ],
    });
    const langfuse = client();
    for (const name of ["good", "refused", "later"]) {
      langfuse.score.create({ id: name, name, value: 1, sessionId: "s-1" });
    }
    const report = await langfuse.flush();
    await receiver.fault({});
    assert.deepEqual(report.rejected, [{ id: "refused", status: 400, message: "not like that" }]);
    assert.deepEqual([report.delivered, report.requests], [2, 2]);
  });

  test("follow the sampling of their trace", async () => {
    const scores = await scored(
      (score) => {
        score.create({ name: "sampled out", value: 1, traceId: TRACE_ID });
        score.create({ name: "kept", value: 1, sessionId: "s-1" });
      },
      { sampleRate: 0 },
    );
    assert.deepEqual(Object.keys(scores), ["kept"]);
  });

  test("that say too little are left out, and each warning names what is missing", async () => {
    const warn = mock.method(console, "warn", () => {});
    const circular = {};
    circular.self = circular;
    try {
      const scores = await scored((score) => {
        score.create({ name: "", value: 1, traceId: TRACE_ID });
        score.create({ name: "quality", traceId: TRACE_ID });
        score.create({ name: "quality", value: Number.NaN, traceId: TRACE_ID });
        score.create({ name: "quality", value: 1 });
        score.create({ name: "quality", value: 1, traceId: TRACE_ID, sessionId: "s-1" });
        score.create({ name: "quality", value: 1, sessionId: "s-1", observationId: "b7ad6b7169203331" });
        score.create(undefined);
        score.activeObservation({ name: "quality", value: 1 });
        score.create({ name: "quality", value: 1, traceId: TRACE_ID, metadata: circular });
      });
      assert.deepEqual(scores, {});
      const said = warn.mock.calls.map(({ arguments: [text] }) => text);
      const reasons = [/name/, /value/, /value/, /traceId, sessionId/, /traceId, sessionId/, /observationId/, /name/, /current/, /JSON/];
      assert.equal(said.length, reasons.length, said.join("\n"));
      reasons.forEach((reason, index) => assert.match(said[index], reason));
    } finally {
      warn.mock.restore();
    }
  });

  test("of a disabled client are no-ops", () => {
    new Langfuse({ enabled: false }).score.create({ name: "quality", value: 1, traceId: TRACE_ID });
  });
});

describe("a scoped flush", () => {
  test("waits for its own trace only and takes the others along", async () => {
    const langfuse = client();
    const mine = langfuse.startObservation("mine");
    for (const observation of [langfuse.startObservation("other"), mine]) observation.end();
    for (const scope of [mine.traceId, [mine.traceId]]) {
      const report = await langfuse.flush({ scope });
      assert.deepEqual([report.ok, report.delivered], [true, scope === mine.traceId ? 1 : 0]);
    }
    assert.equal((await receiver.rows()).length, 2);
  });
});
