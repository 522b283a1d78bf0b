// Programs written once, in the names that Langfuse's own client and ours have in common. What one returns is compared, too. The
// names of a program's observations are unique.

const REMOTE = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", traceFlags: 1 };
const at = (seconds) => new Date(Date.UTC(2026, 0, 2, 3, 4, seconds, 678));
/** The context of an observation, in the words of OpenTelemetry. */
const contextOf = ({ traceId, id }) => ({ traceId, spanId: id, traceFlags: 1 });
const LONG = "x".repeat(201);

/** What a caller sees of a function that fails. */
function caught(call) {
  try {
    return call();
  } catch (error) {
    return { thrown: String(error) };
  }
}
const rejected = (promise) => promise.catch((error) => ({ rejected: String(error) }));
const later = async (value) => value;

/** A program by what it shows: the options of its client, if it has any, and what it does. */
export const PROGRAMS = {
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

  "a public trace": {
    run({ startObservation, startActiveObservation, setActiveTraceAsPublic }) {
      const root = startObservation("shared");
      const isItself = root.setTraceAsPublic() === root;
      root.end();
      startActiveObservation("active", () => setActiveTraceAsPublic());
      setActiveTraceAsPublic();
      return isItself;
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

  "each kind, as the active one": {
    async run({ startActiveObservation, getActiveSpanId }) {
      const kinds = ["span", "generation", "embedding", "agent", "tool", "chain", "retriever", "evaluator", "guardrail"];
      const seen = [];
      for (const asType of kinds) {
        await startActiveObservation(
          asType,
          async (observation) => {
            await later();
            observation.update({ input: asType, output: observation.type });
            seen.push(getActiveSpanId() === observation.id);
          },
          { asType },
        );
      }
      startActiveObservation("event", (event) => seen.push(event.type), { asType: "event" });
      return seen;
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

  "input and output of every JSON type": {
    run({ startObservation }) {
      const values = {
        "a string": "text",
        "a string of JSON": '{"a":1}',
        "an empty string": "",
        "unicode": "ä€😀\u2028\0",
        "a number": 1.5,
        zero: 0,
        "true": true,
        "false": false,
        "a list": [1, "two", null, [true]],
        "an empty list": [],
        "an object": { a: { b: [1, { c: null }] }, d: "e" },
        "an empty object": {},
        "null": null,
        "undefined": undefined,
      };
      for (const [name, value] of Object.entries(values)) {
        startObservation(name, { input: value, output: value, metadata: { value } }).end();
      }
    },
  },

  "values that JSON changes": {
    run({ startObservation }) {
      class Point {
        x = 1;
        #y = 2;
        get sum() {
          return this.x + this.#y;
        }
      }
      const values = {
        "a date": new Date(at(0)),
        "a date within": { at: at(0), list: [at(0)] },
        "undefined within": { a: undefined, b: [undefined] },
        "not a number": Number.NaN,
        "not a number within": [Number.NaN, Number.POSITIVE_INFINITY],
        "an instance": new Point(),
        "toJSON": { toJSON: () => ({ is: "json" }) },
        "a URL": new URL("https://example.com/a?b=c"),
        "without prototype": Object.assign(Object.create(null), { a: 1 }),
        "boxed": [Object("text"), Object(1), Object(true)],
        "a sparse list": [1, , 3],
        "a lone surrogate": { text: "\ud800" },
      };
      for (const [name, value] of Object.entries(values)) startObservation(name, { input: value }).end();
    },
  },

  "values that JSON cannot tell": {
    run({ startObservation }) {
      const circle = { name: "circle" };
      circle.self = circle;
      const values = {
        "a circle": circle,
        "a big integer": 12n,
        "a big integer within": { n: 12n },
        "an error": new TypeError("no"),
        "a map": new Map([["a", 1]]),
        "a set": new Set([1, 2]),
        "a regular expression": /x/,
        "bytes": new Uint8Array([1, 2, 3]),
        "a function": function named() {},
        "a function within": { f() {} },
        "a symbol": Symbol("s"),
        "a getter that throws": {
          ok: 1,
          get bad() {
            throw new Error("no");
          },
        },
      };
      for (const [name, value] of Object.entries(values)) startObservation(name, { input: value }).end();
    },
  },

  metadata: {
    run({ startObservation }) {
      const flat = { text: "a", number: 1, zero: 0, yes: true, no: false, empty: "", nothing: null, absent: undefined };
      startObservation("flat", { metadata: flat }).end();
      startObservation("nested", { metadata: { a: { b: { c: [1, { d: 2 }] } }, list: ["x"], empty: {}, none: [] } }).end();
      startObservation("names", { metadata: { "a.b": 1, "ä b": 2, "a-b": 3 } }).end();
      startObservation("of no names", { metadata: {} }).end();
      const merged = startObservation("merged", { metadata: { a: 1, b: { c: 1 } } });
      merged.update({ metadata: { b: { d: 2 }, e: 3 } });
      merged.update({ metadata: { a: null, e: undefined } });
      merged.end();
    },
  },

  "metadata that is no object": {
    run({ startObservation }) {
      startObservation("text", { metadata: "text" }).end();
      startObservation("number", { metadata: 5 }).end();
      startObservation("list", { metadata: ["a", "b"] }).end();
      startObservation("nothing", { metadata: null }).end();
    },
  },

  "metadata of names that Langfuse uses itself": {
    run({ startObservation }) {
      startObservation("taken", { metadata: { scope: "a", resourceAttributes: "b", attributes: "c", constructor: "d" } }).end();
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

  "active observations": {
    async run({ startObservation, startActiveObservation, updateActiveObservation, getActiveTraceId, getActiveSpanId }) {
      const before = [getActiveTraceId(), getActiveSpanId()];
      const result = startActiveObservation("outer", (outer) => {
        updateActiveObservation({ input: "by update", metadata: { a: 1 } });
        const explicit = startObservation("child");
        const stays = getActiveSpanId() === outer.id;
        const inner = startActiveObservation("inner", (inner) => {
          updateActiveObservation({ output: "of inner", level: "DEBUG" });
          return [getActiveSpanId() === inner.id, getActiveTraceId() === outer.traceId];
        });
        explicit.startObservation("grandchild").end();
        explicit.end();
        outer.update({ output: { done: true } });
        return [stays, inner];
      });
      const awaited = await startActiveObservation("async", async (observation) => {
        await later();
        startObservation("after await").end();
        updateActiveObservation({ output: "late" });
        return getActiveSpanId() === observation.id;
      });
      updateActiveObservation({ output: "nowhere" });
      return [before, result, awaited, getActiveSpanId()];
    },
  },

  "active observations that overlap": {
    async run({ startActiveObservation, startObservation }) {
      await Promise.all(
        ["a", "b"].map((name) =>
          startActiveObservation(name, async () => {
            await later();
            const child = startObservation(`child of ${name}`);
            await later();
            child.end();
          }),
        ),
      );
    },
  },

  "active observations that their caller ends": {
    async run({ startActiveObservation }) {
      let kept;
      startActiveObservation("sync", (observation) => void (kept = observation), { endOnExit: false });
      kept.update({ output: "after" }).end();
      await startActiveObservation("async", async (observation) => void (kept = observation), { endOnExit: false });
      kept.update({ output: "after" }).end();
      caught(() =>
        startActiveObservation(
          "failed",
          (observation) => {
            kept = observation;
            throw new Error("no");
          },
          { endOnExit: false },
        ),
      );
      kept.end();
    },
  },

  "an update of the active observation that names a kind": {
    run({ startActiveObservation, updateActiveObservation }) {
      startActiveObservation(
        "generation",
        () => updateActiveObservation({ model: "gpt-4o", usageDetails: { input: 1 } }, { asType: "generation" }),
        { asType: "generation" },
      );
      startActiveObservation("span", () => updateActiveObservation({ model: "gpt-4o" }, { asType: "generation" }));
    },
  },

  "errors in active observations": {
    async run({ startActiveObservation }) {
      return [
        caught(() =>
          startActiveObservation("sync", (observation) => {
            observation.update({ output: "partial" });
            throw new TypeError("bad type");
          }),
        ),
        await rejected(
          startActiveObservation("async", async () => {
            await later();
            throw new Error("late");
          }),
        ),
        caught(() =>
          startActiveObservation("not an error", () => {
            throw "a string";
          }),
        ),
        caught(() =>
          startActiveObservation("without a message", () => {
            throw new Error();
          }),
        ),
        caught(() =>
          startActiveObservation("with a level of its own", (observation) => {
            observation.update({ level: "WARNING", statusMessage: "mine" });
            throw new Error("theirs");
          }),
        ),
        caught(() =>
          startActiveObservation("outer", () =>
            startActiveObservation("inner", () => {
              throw new Error("deep");
            }),
          ),
        ),
      ];
    },
  },

  "observed functions": {
    async run({ observe, startObservation, updateActiveObservation }) {
      const none = observe(() => undefined, { name: "no argument" });
      const one = observe((value) => value, { name: "one argument" });
      const many = observe((a, b) => ({ sum: a + b }), { name: "many arguments" });
      const own = observe(function itsOwnName() {});
      const method = { factor: 2, double: observe(function (n) { return this.factor * n; }, { name: "method" }) };
      const tool = observe(
        async (query) => {
          await later();
          updateActiveObservation({ metadata: { query } }, { asType: "tool" });
          startObservation("within").end();
          return [query];
        },
        { name: "tool", asType: "tool" },
      );
      const input = observe((a) => a, { name: "input kept back", captureInput: false });
      const output = observe((a) => a, { name: "output kept back", captureOutput: false });
      const nothing = observe((a) => null, { name: "null for null" });
      return [
        none(),
        one({ a: 1 }),
        many(1, 2),
        own(),
        method.double(3),
        await tool("q"),
        input(1),
        output(2),
        nothing(null),
      ];
    },
  },

  "observed functions without a name": {
    run: ({ observe }) => observe(() => 1)(),
  },

  "observed functions that give what counts as false": {
    run({ observe }) {
      const give = (name, value) => observe(() => value, { name })();
      return [give("zero", 0), give("no", false), give("empty", "")];
    },
  },

  "observed functions that take what counts as false": {
    run({ observe }) {
      const take = (name, value) => observe(() => {}, { name })(value);
      take("zero", 0);
      take("no", false);
      take("empty", "");
      take("undefined", undefined);
    },
  },

  "observed functions that fail": {
    async run({ observe }) {
      const fail = (error) => () => {
        throw error;
      };
      const failLater = (error) => async () => {
        await later();
        throw error;
      };
      return [
        caught(observe(fail(new TypeError("bad type")), { name: "sync" })),
        await rejected(observe(failLater(new Error("late")), { name: "async" })(1)),
        caught(observe(fail("a string"), { name: "not an error" })),
        caught(observe(fail(new Error()), { name: "without a message" })),
        caught(observe(fail(new Error("secret")), { name: "output kept back", captureOutput: false })),
      ];
    },
  },

  "observed functions within each other": {
    async run({ observe }) {
      const inner = observe(async (n) => n + 1, { name: "inner", asType: "tool" });
      const outer = observe(async (n) => inner(n), { name: "outer", asType: "agent" });
      return outer(1);
    },
  },

  "an observed generator": {
    run({ observe }) {
      const count = observe(
        function* (to) {
          for (let n = 1; n <= to; n++) yield n;
        },
        { name: "count" },
      );
      return [...count(3)];
    },
  },

  "an observed function whose promise is not a Promise": {
    async run({ observe }) {
      const query = observe(() => ({ then: (resolve) => resolve("value") }), { name: "query" });
      return await query();
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

  "attributes of the trace": {
    async run({ propagateAttributes, startObservation, startActiveObservation }) {
      const attributes = {
        userId: "user-1",
        sessionId: "session-1",
        tags: ["a", "b"],
        metadata: { plan: "pro" },
        version: "1.0",
        traceName: "mail",
        environment: "staging",
        prompt: { name: "greeting", version: 4 },
      };
      const answer = await propagateAttributes(attributes, async () => {
        const root = startObservation("root");
        root.startObservation("child", {}, { asType: "generation" }).end();
        await later();
        startActiveObservation("active", () => startObservation("child of active").end());
        root.end();
        return "answer";
      });
      startObservation("outside").end();
      return answer;
    },
  },

  "attributes of the trace, said within it": {
    run({ propagateAttributes, startActiveObservation, startObservation }) {
      startActiveObservation("root", (root) => {
        startObservation("before").end();
        propagateAttributes({ userId: "user-1", tags: ["a"], metadata: { k: "v" }, prompt: { name: "p", version: "7" } }, () => {
          startObservation("during").end();
          root.startObservation("child").end();
        });
        startObservation("afterwards").end();
      });
    },
  },

  "attributes of the trace, said within each other": {
    run({ propagateAttributes, startActiveObservation, startObservation }) {
      const outer = {
        userId: "outer",
        sessionId: "outer",
        tags: ["a", "b"],
        metadata: { a: "outer", b: "outer" },
        version: "outer",
        traceName: "outer",
        environment: "outer",
        prompt: { name: "outer", version: 1 },
      };
      const inner = {
        userId: "inner",
        tags: ["b", "c"],
        metadata: { b: "inner", c: "inner" },
        traceName: "inner",
        prompt: { name: "inner", version: 2 },
      };
      propagateAttributes(outer, () => {
        startActiveObservation("outer", () => {
          propagateAttributes(inner, () => startActiveObservation("inner", () => startObservation("innermost").end()));
          startObservation("after inner").end();
        });
      });
    },
  },

  "attributes of the trace and of the observation": {
    run({ propagateAttributes, startObservation, startActiveObservation }) {
      const asType = "generation";
      const trace = { version: "trace", environment: "trace", metadata: { k: "trace" }, prompt: { name: "trace", version: 1 } };
      propagateAttributes(trace, () => {
        const own = { version: "own", environment: "own", metadata: { k: "own" }, prompt: { name: "own", version: 2 } };
        startObservation("own", own, { asType }).end();
        startObservation("fallback", { prompt: { name: "own", version: 2, isFallback: true } }, { asType }).end();
        startActiveObservation("own, later", (observation) => observation.update(own), { asType });
      });
      startActiveObservation("own first", (observation) => {
        observation.update({ version: "own" });
        propagateAttributes({ version: "trace" }, () => {});
      });
    },
  },

  "attributes of the trace that nobody can use": {
    run({ propagateAttributes, startObservation }) {
      const attributes = {
        userId: LONG,
        sessionId: 5,
        tags: ["ok", LONG, 5],
        metadata: { ok: "ok", long: LONG, number: 5, nothing: null },
        version: LONG,
        traceName: LONG,
        environment: "Langfuse!",
      };
      propagateAttributes(attributes, () => startObservation("bad").end());
      propagateAttributes({ environment: "langfuse-x" }, () => startObservation("reserved").end());
      propagateAttributes({ environment: "x".repeat(41) }, () => startObservation("long").end());
      propagateAttributes({ userId: "x".repeat(200) }, () => startObservation("as long as can be").end());
      propagateAttributes({ tags: [LONG], metadata: { long: LONG } }, () => startObservation("nothing left").end());
      for (const [name, prompt] of Object.entries({
        "prompt without version": { name: "p" },
        "prompt of no version": { name: "p", version: "new" },
        "prompt of half a version": { name: "p", version: 1.5 },
        "prompt without name": { name: "", version: 1 },
        "fallback prompt": { name: "p", version: 1, isFallback: true },
      })) {
        propagateAttributes({ prompt }, () => startObservation(name, {}, { asType: "generation" }).end());
      }
    },
  },

  "attributes of the trace that say nothing": {
    run({ propagateAttributes, startObservation }) {
      propagateAttributes({ userId: "outer", sessionId: "outer", tags: ["outer"], traceName: "outer", version: "outer" }, () => {
        propagateAttributes({ userId: "", sessionId: "", tags: [], metadata: {}, traceName: "", version: "" }, () =>
          startObservation("empty").end(),
        );
        propagateAttributes({ userId: undefined, sessionId: null, tags: undefined, prompt: null }, () =>
          startObservation("absent").end(),
        );
        propagateAttributes({}, () => startObservation("none").end());
      });
    },
  },

  "a child started outside of what its parent was started in": {
    run({ propagateAttributes, startObservation }) {
      let parent;
      propagateAttributes({ userId: "user-1", tags: ["a"] }, () => (parent = startObservation("parent")));
      parent.startObservation("child").end();
      propagateAttributes({ sessionId: "session-1" }, () => parent.startObservation("child within another").end());
      parent.end();
    },
  },

  "a mask": {
    options: { mask: ({ data }) => data.replaceAll("secret", "***") },
    run({ startObservation }) {
      const observation = startObservation("masked", { input: "a secret", output: { a: ["secret"] } });
      observation.update({ metadata: { a: "secret" }, statusMessage: "secret" });
      observation.end();
    },
  },

  "a mask that fails": {
    options: {
      mask() {
        throw new Error("no");
      },
    },
    run: ({ startObservation }) => startObservation("masked", { input: "a secret", output: { a: 1 } }).end(),
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
