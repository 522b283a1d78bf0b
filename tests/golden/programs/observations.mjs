// Observations and their scores: kinds, fields, times, parents.
import { at } from "./support.mjs";

const REMOTE = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", traceFlags: 1 };
/** The context of an observation, in the words of OpenTelemetry. */
const contextOf = ({ traceId, id }) => ({ traceId, spanId: id, traceFlags: 1 });

export const OBSERVATIONS = {
  "a tree of spans": {
    run({ startObservation }) {
      const root = startObservation("request", { input: { question: "?" } });
      const child = root.startObservation("step", { input: "in" });
      child.startObservation("sub-step").end();
      child.update({ output: "out" }).end();
      root.startObservation("other step").end();
      root.update({ output: { answer: 42 } });
      root.end();
      return [root.type, child.traceId === root.traceId, root.id.length, root.traceId.length];
    },
  },

  "each kind": {
    run({ startObservation }) {
      const root = startObservation("root");
      const kinds = ["span", "generation", "embedding", "agent", "tool", "chain", "retriever", "evaluator", "guardrail"];
      const types = kinds.map((asType) => {
        const child = root.startObservation(asType, { input: asType, metadata: { asType } }, { asType });
        child.update({ output: `${asType} out` }).end();
        return child.type;
      });
      root.startObservation("event", { input: "event", level: "WARNING", metadata: { n: 1 } }, { asType: "event" });
      root.end();
      return types;
    },
  },

  "a generation with everything": {
    run({ startObservation }) {
      const generation = startObservation(
        "answer",
        {
          input: [{ role: "user", content: "?" }],
          model: "gpt-4o",
          modelParameters: { temperature: 0.5, max_tokens: 100, stop: "END" },
          completionStartTime: at(1),
          prompt: { name: "greeting", version: 4, isFallback: false },
          version: "1.2.3",
          environment: "staging",
        },
        { asType: "generation" },
      );
      generation.update({
        output: { role: "assistant", content: "!" },
        usageDetails: { input: 5, output: 7, total: 12, input_cached_tokens: 2 },
        costDetails: { input: 0.1, output: 0.2, total: 0.3 },
      });
      generation.end();
    },
  },

  "usage as OpenAI tells it": {
    run({ startObservation }) {
      const chat = startObservation("chat", { model: "gpt-4o" }, { asType: "generation" });
      chat.update({
        usageDetails: {
          prompt_tokens: 9,
          completion_tokens: 12,
          total_tokens: 21,
          prompt_tokens_details: { cached_tokens: 3, audio_tokens: 0 },
          completion_tokens_details: { reasoning_tokens: 4 },
        },
      });
      chat.end();
      const response = startObservation("response", { model: "gpt-4o" }, { asType: "generation" });
      response.update({
        usageDetails: {
          input_tokens: 9,
          output_tokens: 12,
          total_tokens: 21,
          input_tokens_details: { cached_tokens: 3 },
          output_tokens_details: { reasoning_tokens: 4 },
        },
      });
      response.end();
      startObservation("embed", { model: "small", usageDetails: { input: 8 }, costDetails: {} }, { asType: "embedding" }).end();
    },
  },

  "costs that are none": {
    run({ startObservation }) {
      const costDetails = { input: 0.1, output: -0.2, total: Number.NaN };
      startObservation("refund", { costDetails }, { asType: "generation" }).end();
    },
  },

  prompts: {
    run({ startObservation }) {
      const asType = "generation";
      startObservation("managed", { prompt: { name: "greeting", version: 4, isFallback: false } }, { asType }).end();
      startObservation("fallback", { prompt: { name: "greeting", version: 0, isFallback: true } }, { asType }).end();
      startObservation("in text", { prompt: { name: "greeting", version: "4", isFallback: false } }, { asType }).end();
      startObservation("of no version", { prompt: { name: "greeting", version: "new", isFallback: false } }, { asType }).end();
    },
  },

  "levels and status messages": {
    run({ startObservation }) {
      for (const level of ["DEBUG", "DEFAULT", "WARNING", "ERROR"]) {
        startObservation(level, { level, statusMessage: `it is ${level}` }).end();
      }
      startObservation("a message alone", { statusMessage: "so" }).end();
      startObservation("an empty message", { level: "ERROR", statusMessage: "" }).end();
    },
  },

  updates: {
    run({ startObservation }) {
      const observation = startObservation("updated", { input: "first", output: "kept", version: "1", level: "WARNING" });
      observation.update({ input: "second" }).update({ output: undefined, level: null }).update({});
      observation.update({ version: "2", model: "m", modelParameters: {} });
      observation.end();
      observation.update({ input: "too late" });
      observation.end();
      startObservation("bare").end();
      startObservation("bare with attributes", {}).end();
    },
  },

  times: {
    run({ startObservation, startActiveObservation }) {
      const root = startObservation("root", {}, { startTime: at(1) });
      startObservation("event", { input: "e" }, { asType: "event", startTime: at(2), parentSpanContext: contextOf(root) });
      root.end(at(3));
      startActiveObservation("active", (observation) => observation.end(at(5)), { startTime: at(4) });
      startObservation("backwards", {}, { startTime: at(7) }).end(at(6));
    },
  },

  "an environment and a release": {
    options: { environment: "staging", release: "r1" },
    run({ startObservation, startActiveObservation }) {
      const root = startObservation("root");
      root.startObservation("child", { version: "v1" }, { asType: "generation" }).end();
      root.startObservation("elsewhere", { environment: "other" }).end();
      root.end();
      startActiveObservation("active", () => {});
    },
  },

  "a parent in another process": {
    async run({ startObservation, startActiveObservation, observe }) {
      const parentSpanContext = REMOTE;
      const joined = startObservation("started", {}, { parentSpanContext });
      joined.startObservation("child of started").end();
      joined.end();
      await startActiveObservation("active", async () => startObservation("child of active").end(), { parentSpanContext });
      observe(() => startObservation("child of observed").end(), { name: "observed", parentSpanContext })();
      startActiveObservation("around", () => startObservation("elsewhere", {}, { parentSpanContext }).end());
    },
  },

  "a parent of this process, by its ids": {
    run({ startObservation }) {
      const parent = startObservation("parent");
      startObservation("child", {}, { parentSpanContext: contextOf(parent) }).end();
      parent.end();
    },
  },

  "a child of one that has ended": {
    run({ startObservation }) {
      const parent = startObservation("parent");
      parent.end();
      parent.startObservation("child").end();
    },
  },

  events: {
    run({ startObservation, startActiveObservation }) {
      const root = startObservation("root");
      const event = root.startObservation("event", { input: { a: 1 }, output: "b", statusMessage: "c" }, { asType: "event" });
      event.end();
      startActiveObservation("active", (active) => {
        active.startObservation("within", { level: "ERROR" }, { asType: "event" });
        startObservation("also within", {}, { asType: "event" });
      });
      root.end();
      return event.type;
    },
  },

  "trace ids from seeds": {
    async run({ createTraceId, startObservation }) {
      const traceId = await createTraceId("order-1");
      startObservation("joined", {}, { parentSpanContext: { ...REMOTE, traceId } }).end();
      return [traceId, (await createTraceId()).length];
    },
  },

  scores: {
    run({ score, startObservation, startActiveObservation }) {
      const observation = startObservation("scored");
      score.observation(observation, { name: "of the observation", value: 0.5, comment: "so", metadata: { by: "me" } });
      score.trace(observation, { name: "of the trace", value: "good", dataType: "CATEGORICAL" });
      observation.end();
      startActiveObservation("active", () => {
        score.activeObservation({ name: "of the active one", value: 1, dataType: "BOOLEAN" });
        score.activeTrace({ name: "of its trace", value: 3, id: "score-1", configId: "config-1" });
      });
      score.activeTrace({ name: "of nothing", value: 1 });
      score.create({ name: "of a session", sessionId: "session-1", value: "text", dataType: "TEXT", environment: "staging" });
      score.create({ name: "of a run", datasetRunId: "run-1", value: 0 });
      score.create({ name: "of anything", ...{ traceId: REMOTE.traceId, observationId: REMOTE.spanId }, value: -1.5, queueId: "q" });
    },
  },
};
