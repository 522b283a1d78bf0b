// What is said of a whole trace.
import { later } from "./support.mjs";

const LONG = "x".repeat(201);

export const TRACES = {
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
};
