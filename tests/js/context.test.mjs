// Which observation is the current one, for whom; what is propagated to which observations.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, test } from "node:test";

import {
  getActiveSpanId,
  getActiveTraceId,
  Langfuse,
  observe,
  parseTraceparent,
  propagateAttributes,
  startActiveObservation,
  startObservation,
  updateActiveObservation,
} from "langfuse-edge";

import { startScript } from "./support/program.mjs";
import { observed } from "./support/observed.mjs";

const { client, receiver, rows } = observed();

const parentsOf = (row, names = Object.keys(row)) =>
  Object.fromEntries(names.map((name) => [name, Object.values(row).find(({ id }) => id === row[name].parentObservationId)?.name ?? null]));

describe("the current observation", () => {
  test("nested, through awaits, timers, microtasks and callbacks", async () => {
    await startActiveObservation("a", async () => {
      await sleep(1);
      await startActiveObservation("b", async () => {
        await Promise.resolve();
        startObservation("after a microtask").end();
        await new Promise((resolve) => setTimeout(() => (startObservation("in a timer").end(), resolve()), 1));
        queueMicrotask(() => startObservation("in a queued microtask").end());
      });
      startObservation("after b").end();
    });
    startObservation("after a").end();
    assert.deepEqual(parentsOf(await rows()), {
      a: null,
      b: "a",
      "after a microtask": "b",
      "in a timer": "b",
      "in a queued microtask": "b",
      "after b": "a",
      "after a": null,
    });
  });

  test("parallel branches do not see each other", async () => {
    await startActiveObservation("root", () =>
      Promise.all(
        ["x", "y", "z"].map((name, n) =>
          startActiveObservation(name, async (own) => {
            for (let step = 0; step < 3; step++) {
              await sleep(n + 1);
              assert.equal(getActiveSpanId(), own.id);
            }
            startObservation(`below ${name}`).end();
          }),
        ),
      ),
    );
    const parents = parentsOf(await rows());
    for (const name of ["x", "y", "z"]) assert.deepEqual([parents[name], parents[`below ${name}`]], ["root", name]);
  });

  test("an error restores what was current before", () => {
    startActiveObservation("outer", (outer) => {
      assert.throws(() => startActiveObservation("inner", () => { throw new Error("no"); }));
      assert.equal(getActiveSpanId(), outer.id);
    });
    assert.equal(getActiveSpanId(), undefined);
  });

  test("an observation that has ended may still be above others", async () => {
    await startActiveObservation("ended", async (observation) => {
      observation.end();
      await sleep(1);
      startObservation("child").end();
    });
    assert.equal(parentsOf(await rows()).child, "ended");
  });

  test("two clients: each has its own, and the one that was made current last is everybody's", async () => {
    const a = new Langfuse(receiver().options);
    const b = new Langfuse(receiver().options);
    await startActiveObservation("a1", async (a1) => {
      await startActiveObservation("b1", async (b1) => {
        startObservation("b2").end();
        startObservation("a2", {}, { client: a }).end();
        a.startObservation("a3").end();
        assert.deepEqual([getActiveSpanId(), getActiveSpanId({ client: a }), getActiveTraceId({ client: b })], [b1.id, a1.id, b1.traceId]);
        updateActiveObservation({ output: "of a" }, { client: a });
        await startActiveObservation("a4", async () => {
          startObservation("a5").end();
          b.startObservation("b3").end();
          await Promise.all([sleep(1), startActiveObservation("b4", () => sleep(1), { client: b })]);
        }, { client: a });
      }, { client: b });
    }, { client: a });
    await a.flush();
    const row = await rows(b);
    assert.deepEqual(parentsOf(row), { a1: null, a2: "a1", a3: "a1", a4: "a1", a5: "a4", b1: null, b2: "b1", b3: "b1", b4: "b1" });
    assert.equal(row.a1.output, "of a");
    assert.equal(new Set(["b1", "b2", "b3", "b4"].map((name) => row[name].traceId)).size, 1);
    assert.notEqual(row.a1.traceId, row.b1.traceId);
  });

  test("client methods know the client's current observation, and explicit parents come before it", async () => {
    const langfuse = await client();
    const elsewhere = langfuse.startObservation("elsewhere");
    startActiveObservation("current", (own) => {
      langfuse.startObservation("below current").end();
      elsewhere.startObservation("below elsewhere").end();
      langfuse.startObservation("below a context", {}, { parentSpanContext: { traceId: elsewhere.traceId, spanId: elsewhere.id } }).end();
      langfuse.startObservation("below a header", {}, { parentSpanContext: elsewhere.traceparent }).end();
      startObservation("by the module's function", {}, { parentSpanContext: elsewhere.traceparent }).end();
      assert.notEqual(own.traceId, elsewhere.traceId);
    });
    elsewhere.end();
    assert.deepEqual(parentsOf(await rows()), {
      elsewhere: null,
      current: null,
      "below current": "current",
      "below elsewhere": "elsewhere",
      "below a context": "elsewhere",
      "below a header": "elsewhere",
      "by the module's function": "elsewhere",
    });
  });

  test("a parent that cannot be is left out with one warning, and the current one counts", async (t) => {
    const warn = t.mock.method(console, "warn", () => {});
    const id = "b7ad6b7169203331";
    const bad = [
      "garbage",
      `00-${"0".repeat(32)}-${id}-01`,
      `ff-0af7651916cd43dd8448eb211c80319c-${id}-01`,
      { traceId: "short", spanId: id },
      { traceId: "0af7651916cd43dd8448eb211c80319c" },
      {},
    ];
    startActiveObservation("current", () => {
      bad.forEach((parentSpanContext, n) => startObservation(`bad ${n}`, {}, { parentSpanContext }).end());
    });
    const parents = parentsOf(await rows());
    bad.forEach((_, n) => assert.equal(parents[`bad ${n}`], "current", JSON.stringify(bad[n])));
    assert.equal(warn.mock.callCount(), bad.length);
    for (const { arguments: [text] } of warn.mock.calls) assert.match(text, /^langfuse-edge: /);
  });

  test("a header makes a round trip", async () => {
    const root = startObservation("root");
    assert.match(root.traceparent, /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    assert.deepEqual(parseTraceparent(root.traceparent), { traceId: root.traceId, spanId: root.id });
    for (const none of [undefined, null, "", "00-x", root.traceparent.replace("00-", "ff-"), root.traceparent.toUpperCase()]) {
      assert.equal(parseTraceparent(none), undefined);
    }
    assert.deepEqual(parseTraceparent(`${root.traceparent.replace("00-", "cc-")}-more`), { traceId: root.traceId, spanId: root.id });
  });

  test("without AsyncLocalStorage nothing is current, and explicit parents work", async (t) => {
    const script = startScript(
      t,
      `process.getBuiltinModule = undefined;
      const { Langfuse, getActiveSpanId, propagateAttributes, startActiveObservation, startObservation, setLangfuse } = await import("langfuse-edge");
      const langfuse = new Langfuse(${JSON.stringify(receiver().options)});
      setLangfuse(langfuse);
      await startActiveObservation("root", async (root) => {
        if (getActiveSpanId()) throw new Error("there is a current one");
        startObservation("apart").end();
        const child = root.startObservation("child");
        await propagateAttributes({ userId: "u", tags: ["t"] }, async () => {
          child.startObservation("grandchild").end();
        }, { observation: child });
        child.end();
      });
      console.log((await langfuse.flush()).ok)`,
    );
    await script.line(/^true$/);
    const row = await rows();
    assert.deepEqual(parentsOf(row), { root: null, apart: null, child: "root", grandchild: "child" });
    assert.deepEqual(["root", "child", "grandchild"].map((name) => row[name].userId ?? null), [null, "u", "u"]);
  });

  test("depth costs nothing that stays", (t) => {
    const script = startScript(
      t,
      `const { Langfuse, startActiveObservation } = await import("langfuse-edge");
      // What is recorded would take memory, too.
      const options = ${JSON.stringify({ ...receiver().options, sampleRate: 0 })};
      const clients = [new Langfuse(options), new Langfuse(options)];
      const used = () => (gc(), process.memoryUsage().heapUsed);
      async function down(left) {
        // The frame above is given up: what remains is what the context holds.
        await startActiveObservation("level", () => new Promise((resolve) => setImmediate(() => {
          resolve();
          if (left > 0) down(left - 1); else done();
        })), { client: clients[left % 2] });
      }
      let done;
      const run = (levels) => new Promise((resolve) => { done = resolve; down(levels); });
      await run(5000);
      const before = used();
      await run(20000);
      await new Promise(setImmediate);
      console.log("grown by", Math.round((used() - before) / 1024), "KiB")`,
      {},
      { gc: true },
    );
    return script.line(/^grown by (-?\d+) KiB$/).then(([, kib]) => assert.ok(Number(kib) < 4096, `${kib} KiB`));
  });
});

describe("propagateAttributes", () => {
  const WHO = { userId: "u", sessionId: "s", traceName: "t", version: "1", environment: "staging", tags: ["a"], metadata: { k: "v" } };

  test("to the current observation and all that start within, of whatever function", async () => {
    const langfuse = await client();
    const given = startActiveObservation("current", () =>
      propagateAttributes(WHO, () => {
        startObservation("child").end();
        langfuse.startObservation("method").end();
        startActiveObservation("active", (active) => active.startObservation("explicit").end());
        observe(() => startObservation("grandchild").end(), { name: "observed" })();
        return "given";
      }),
    );
    assert.equal(given, "given");
    startObservation("outside").end();
    const { outside, ...inside } = await rows();
    for (const [name, row] of Object.entries(inside)) {
      assert.deepEqual(
        [row.userId, row.sessionId, row.traceName, row.version, row.environment, row.tags, row.metadata.k],
        ["u", "s", "t", "1", "staging", ["a"], "v"],
        name,
      );
    }
    assert.deepEqual([outside.userId ?? null, outside.sessionId ?? null, outside.tags ?? []], [null, null, []]);
  });

  test("without a current observation it is for the roots that start within", async () => {
    await propagateAttributes({ userId: "u" }, async () => {
      await sleep(1);
      startActiveObservation("root", () => startObservation("child").end());
    });
    const { root, child } = await rows();
    assert.deepEqual([root.userId, child.userId, root.parentObservationId], ["u", "u", null]);
  });

  test("within another call tags and metadata are added, anything else is replaced", async () => {
    propagateAttributes({ userId: "outer", sessionId: "s", tags: ["a", "b"], metadata: { x: "1", y: "1" } }, () => {
      propagateAttributes({ userId: "inner", tags: ["b", "c"], metadata: { y: "2", z: "2" } }, () => startObservation("inner").end());
      startObservation("outer").end();
    });
    const { inner, outer } = await rows();
    assert.deepEqual([inner.userId, inner.sessionId, inner.tags, inner.metadata.x, inner.metadata.y, inner.metadata.z], ["inner", "s", ["a", "b", "c"], "1", "2", "2"]);
    assert.deepEqual([outer.userId, outer.tags, outer.metadata.y, outer.metadata.z ?? null], ["outer", ["a", "b"], "1", null]);
  });

  test("one call after another adds to what the observation says", async () => {
    startActiveObservation("one", () => {
      propagateAttributes({ userId: "u", tags: ["a"] }, () => {});
      propagateAttributes({ sessionId: "s", tags: ["b"] }, () => {});
    });
    const { one } = await rows();
    assert.deepEqual([one.userId, one.sessionId, one.tags], ["u", "s", ["a", "b"]]);
  });

  test("explicit children say what their parent says, and what is propagated where they start", async () => {
    let parent;
    propagateAttributes({ userId: "u", tags: ["a"] }, () => (parent = startObservation("parent")));
    const child = parent.startObservation("child");
    propagateAttributes({ sessionId: "s", tags: ["b"] }, () => child.startObservation("grandchild").end());
    child.end();
    parent.end();
    const row = await rows();
    assert.deepEqual([row.child.userId, row.child.sessionId ?? null, row.child.tags], ["u", null, ["a"]]);
    assert.deepEqual([row.grandchild.userId, row.grandchild.sessionId, row.grandchild.tags], ["u", "s", ["a", "b"]]);
  });

  test("what is not valid is left out, and a warning names it", async (t) => {
    const warn = t.mock.method(console, "warn", () => {});
    const long = "x".repeat(201);
    const invalid = {
      userId: long,
      sessionId: 5,
      traceName: "t".repeat(200),
      version: long,
      environment: "Staging",
      tags: ["ok", long, 7],
      metadata: { ok: "v", bad: long, number: 3 },
      prompt: { name: "p", version: long },
    };
    propagateAttributes(invalid, () => startObservation("one").end());
    const { one } = await rows();
    assert.deepEqual([one.userId ?? null, one.sessionId ?? null, one.traceName, one.tags, one.metadata.ok, one.metadata.bad ?? null], [null, null, "t".repeat(200), ["ok"], "v", null]);
    const warnings = warn.mock.calls.map(({ arguments: [text] }) => text);
    assert.deepEqual(
      warnings.map((text) => /^langfuse-edge: propagateAttributes: (\S+) is left out: /.exec(text)?.[1]),
      ["userId", "sessionId", "version", "environment", "tags", "tags", "metadata.bad", "metadata.number", "prompt"],
    );
    assert.ok(warnings.every((text) => !text.includes(long)));
  });

  test("environments: 40 of a-z 0-9 _ -, and not langfuse's own", async (t) => {
    const warn = t.mock.method(console, "warn", () => {});
    const environments = { "a-z_09": true, ["x".repeat(40)]: true, ["x".repeat(41)]: false, "langfuse-x": false, "": false, "a b": false, "a\n": false };
    for (const [environment, isValid] of Object.entries(environments)) {
      warn.mock.resetCalls();
      await client();
      propagateAttributes({ environment }, () => startObservation("one").end());
      assert.equal((await rows()).one.environment, isValid ? environment : "default", environment);
      assert.equal(warn.mock.callCount(), isValid ? 0 : 1);
    }
  });

  test("hostile attributes do not keep the callback from being called", (t) => {
    t.mock.method(console, "warn", () => {});
    for (const attributes of [undefined, null, "text", { tags: "one" }, { tags: 5 }, { metadata: "m" }, { prompt: "p" }, { get userId() { throw new Error("no"); } }]) {
      assert.equal(propagateAttributes(attributes, () => "called"), "called");
    }
  });

  test("a prompt is linked to generations, with its version as a number", async () => {
    propagateAttributes({ prompt: { name: "p", version: "7" } }, () => {
      startObservation("llm", {}, { asType: "generation" }).end();
      startObservation("span").end();
    });
    propagateAttributes({ prompt: { name: "p", version: 7, isFallback: true } }, () => startObservation("fallback", {}, { asType: "generation" }).end());
    const { llm, fallback } = await rows();
    assert.deepEqual([llm.promptName, llm.promptVersion, fallback.promptName ?? null], ["p", 7, null]);
  });

  test("an error and a promise are the callback's", async () => {
    const error = new Error("own");
    assert.throws(() => propagateAttributes({}, () => { throw error; }), (thrown) => thrown === error);
    const promise = Promise.resolve(1);
    assert.equal(propagateAttributes({}, () => promise), promise);
  });

  test("two users at a time do not see each other's", async () => {
    const users = Array.from({ length: 20 }, (_, n) => `u${n}`);
    await Promise.all(
      users.map((userId, n) =>
        propagateAttributes({ userId }, () =>
          startActiveObservation(`root ${userId}`, async () => {
            await sleep(n % 5);
            await startActiveObservation(`child ${userId}`, () => sleep(n % 3));
          }),
        ),
      ),
    );
    const row = await rows();
    for (const userId of users) assert.deepEqual([row[`root ${userId}`].userId, row[`child ${userId}`].userId], [userId, userId]);
  });

  test("a generator that is consumed where something else is propagated keeps to its own", async () => {
    let steps;
    propagateAttributes({ userId: "maker" }, () => {
      steps = observe(function* () { yield startObservation("step").end(); }, { name: "generator" })();
    });
    propagateAttributes({ userId: "consumer", tags: ["consumer's"] }, () => [...steps]);
    const { generator, step } = await rows();
    assert.deepEqual([generator.userId, step.userId, step.tags ?? [], step.parentObservationId], ["maker", "maker", [], generator.id]);
  });
});
