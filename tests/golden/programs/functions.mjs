// Functions that are run as observations, and what is current within them.
import { later } from "./support.mjs";

/** What a caller sees of a function that fails. */
function caught(call) {
  try {
    return call();
  } catch (error) {
    return { thrown: String(error) };
  }
}
const rejected = (promise) => promise.catch((error) => ({ rejected: String(error) }));

export const FUNCTIONS = {
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
};
