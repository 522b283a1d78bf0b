// Workflows and steps, and the process-wide client they use.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, before, beforeEach, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { flushLangfuse, getLangfuse, Langfuse, Observation, runWorkflowWithFlush, setLangfuse, step } from "langfuse-edge";

import { nobodyListens } from "./support/http-server.mjs";
import { startScript } from "./support/program.mjs";
import { KEYS, receiverFor, startReceiver, variablesFor } from "./support/receiver.mjs";
import { until } from "./support/until.mjs";

let receiver;
before(async () => (receiver = await startReceiver()));
after(() => receiver.stop());
beforeEach(async () => {
  await receiver.reset();
  setLangfuse(new Langfuse(receiver.options));
});

const rowNamed = async (name) => (await receiver.rows()).find((row) => row.name === name);

describe("a step", () => {
  test("gives what its function gives, the same object, be it sync, async or a thenable", async () => {
    const result = { answer: 42 };
    const thenable = { then: (resolve) => resolve(result) };
    for (const run of [() => result, async () => result, () => thenable, () => sleep(5, result)]) {
      assert.equal(await step("result", run), result);
    }
    for (const nothing of [undefined, null, 0, "", false]) {
      assert.equal(await step("falsy", () => nothing), nothing);
    }
  });

  test("fails as its function fails, with the same error, and is recorded as ERROR", async () => {
    const error = new TypeError("no such order");
    const failing = [
      () => {
        throw error;
      },
      async () => {
        throw error;
      },
      () => ({ then: (_, reject) => reject(error) }),
    ];
    for (const run of failing) {
      await receiver.reset();
      await assert.rejects(step("fails", run, { input: 1 }), (thrown) => thrown === error);
      const row = await rowNamed("fails");
      assert.deepEqual([row.level, row.statusMessage, row.input, row.output], ["ERROR", "no such order", "1", null]);
    }
    for (const [thrown, said] of [["text", "text"], [undefined, "undefined"], [null, "null"], [7, "7"]]) {
      await receiver.reset();
      const rejection = await step("odd", () => Promise.reject(thrown)).then(assert.fail, (reason) => ({ reason }));
      assert.equal(rejection.reason, thrown);
      assert.deepEqual([(await rowNamed("odd")).level, (await rowNamed("odd")).statusMessage], ["ERROR", said]);
    }
  });

  test("records its name, kind, input and output", async () => {
    await step("search", () => ["hit"], { asType: "retriever", input: { query: "q" } });
    const row = await rowNamed("search");
    assert.deepEqual([row.type, row.input, row.output, row.level], ["RETRIEVER", '{"query":"q"}', '["hit"]', "DEFAULT"]);
    await step("plain", () => undefined);
    const plain = await rowNamed("plain");
    assert.deepEqual([plain.type, plain.input, plain.output], ["SPAN", null, null]);
    for (const value of [null, 0, false, ""]) {
      await receiver.reset();
      await step("falsy", () => value, { input: value });
      const falsy = await rowNamed("falsy");
      const text = value === null ? null : String(value);
      assert.deepEqual([falsy.input, falsy.output], [text, text]);
    }
  });

  test("hands its observation to the function, which may say more", async () => {
    const returned = await step(
      "answer",
      (observation) => {
        assert.ok(observation instanceof Observation);
        assert.equal(observation.type, "generation");
        observation.startObservation("by hand").end();
        observation.update({ model: "gpt-4o", usageDetails: { input: 1, output: 2 }, metadata: { a: 1 } });
        return observation.id;
      },
      { asType: "generation" },
    );
    const row = await rowNamed("answer");
    assert.deepEqual([row.id, row.providedModelName, row.usageDetails.total], [returned, "gpt-4o", 3]);
    assert.equal((await rowNamed("by hand")).parentObservationId, row.id);
  });

  test("measures how long its function takes", async () => {
    await step("slow", () => sleep(120));
    const { startTime, endTime } = await rowNamed("slow");
    const milliseconds = Date.parse(endTime) - Date.parse(startTime);
    assert.ok(milliseconds >= 115 && milliseconds < 1000, `${milliseconds}`);
  });

  test("is at the receiver before the workflow ends", async () => {
    await runWorkflowWithFlush(async () => {
      await step("first", () => 1);
      assert.deepEqual((await receiver.rows()).map(({ name }) => name), ["first"]);
      await step("second", () => 2);
      assert.deepEqual((await receiver.rows()).map(({ name }) => name), ["first", "second"]);
    });
  });
});

describe("the tree", () => {
  test("nested and parallel steps come under their right parents", async () => {
    await step("root", async () => {
      await step("one", async () => {
        await sleep(5);
        await step("one.one", () => undefined);
        await Promise.all(
          ["a", "b", "c"].map((name, index) =>
            step(`one.${name}`, async () => {
              await sleep(5 * (3 - index));
              await new Promise((resolve) => setImmediate(resolve));
              await step(`one.${name}.leaf`, () => sleep(1));
            }),
          ),
        );
      });
      await step("two", () => step("two.leaf", () => undefined));
    });
    await step("another root", () => undefined);
    const rows = await receiver.rows();
    const name = Object.fromEntries(rows.map(({ id, name }) => [id, name]));
    const parents = Object.fromEntries(rows.map((row) => [row.name, name[row.parentObservationId] ?? null]));
    assert.deepEqual(parents, {
      root: null,
      one: "root",
      "one.one": "one",
      "one.a": "one",
      "one.b": "one",
      "one.c": "one",
      "one.a.leaf": "one.a",
      "one.b.leaf": "one.b",
      "one.c.leaf": "one.c",
      two: "root",
      "two.leaf": "two",
      "another root": null,
    });
    assert.equal(new Set(rows.map(({ traceId }) => traceId)).size, 2);
    assert.equal((await receiver.state()).duplicates, 0);
  });

  test("two workflows at a time do not mix", async () => {
    const workflow = (id) => () => step(`root ${id}`, () => step(`middle ${id}`, () => sleep(10).then(() => step(`leaf ${id}`, () => id))));
    const ids = Array.from({ length: 20 }, (_, id) => id);
    assert.deepEqual(await Promise.all(ids.map((id) => runWorkflowWithFlush(workflow(id)))), ids);
    const rows = await receiver.rows();
    assert.equal(rows.length, 60);
    for (const id of ids) {
      const [root, middle, leaf] = ["root", "middle", "leaf"].map((kind) => rows.find(({ name }) => name === `${kind} ${id}`));
      assert.deepEqual([root.parentObservationId, middle.parentObservationId, leaf.parentObservationId], [null, root.id, middle.id]);
    }
  });

  test("an explicit parent wins over the step around", async () => {
    const elsewhere = getLangfuse().startObservation("elsewhere");
    await step("around", () => step("moved", () => undefined, { parent: elsewhere }));
    elsewhere.end();
    await flushLangfuse();
    assert.equal((await rowNamed("moved")).parentObservationId, elsewhere.id);
    assert.equal((await rowNamed("moved")).traceId, elsewhere.traceId);
    assert.equal((await rowNamed("around")).parentObservationId, null);
  });
});

describe("a workflow", () => {
  test("is a function or an object with run, which keeps its this and takes the arguments", async () => {
    const result = {};
    const object = {
      name: "greeter",
      async run(...args) {
        assert.equal(this, object);
        assert.deepEqual(args, ["a", 2]);
        return result;
      },
    };
    assert.equal(await runWorkflowWithFlush(object, "a", 2), result);
    assert.equal(await runWorkflowWithFlush((...args) => object.run(...args), "a", 2), result);
    class Workflow {
      #secret = result;
      run() {
        return this.#secret;
      }
    }
    assert.equal(await runWorkflowWithFlush(new Workflow()), result);
  });

  test("flushes at its end what was recorded without steps, also when it fails", async () => {
    await runWorkflowWithFlush(() => getLangfuse().startObservation("good").end());
    assert.equal((await receiver.rows()).length, 1);
    const error = new Error("no");
    const failing = () => {
      getLangfuse().startObservation("bad").end();
      throw error;
    };
    await assert.rejects(runWorkflowWithFlush(failing), (thrown) => thrown === error);
    assert.equal((await receiver.rows()).length, 2);
    await assert.rejects(runWorkflowWithFlush({ run: () => Promise.reject(error) }), (thrown) => thrown === error);
  });

  test("a server that is down changes neither result nor error, and costs a step about a second", async (t) => {
    const hanging = await receiverFor(t, ["--fault", '{"hang":true}']);
    const warn = t.mock.method(console, "warn", () => {});
    const error = new Error("own");
    for (const baseUrl of [await nobodyListens(), hanging.url]) {
      setLangfuse(new Langfuse({ ...KEYS, baseUrl }));
      for (const [run, steps] of [
        [() => step("one", () => "result"), 1],
        [() => step("outer", () => step("inner", () => "result")), 2],
      ]) {
        const start = performance.now();
        assert.equal(await run(), "result");
        const seconds = (performance.now() - start) / 1000;
        assert.ok(seconds <= steps * 1.2, `${steps} steps took ${seconds.toFixed(2)} s against ${baseUrl}`);
      }
      await assert.rejects(step("fails", () => Promise.reject(error)), (thrown) => thrown === error);
      warn.mock.resetCalls();
      const report = await flushLangfuse({ timeoutMs: 100 });
      assert.deepEqual([report.ok, report.retained], [false, 4]);
      const [[warning], ...more] = warn.mock.calls.map((call) => call.arguments);
      // A flush that is over before the server's silence was long enough cannot tell of it.
      assert.match(warning, /^langfuse-edge: flush: 0 delivered, 0 rejected, 4 retained, 0 dropped(: the server gives no answer)?$/);
      assert.deepEqual(more, []);
    }
  });

  test("steps that a server missed arrive with the next flush", async (t) => {
    t.mock.method(console, "warn", () => {});
    await receiver.fault({ status: 503 });
    await step("missed", () => step("missed too", () => undefined));
    assert.equal((await receiver.rows()).length, 0);
    await receiver.fault({});
    assert.ok((await flushLangfuse()).ok);
    assert.equal((await rowNamed("missed too")).parentObservationId, (await rowNamed("missed")).id);
  });
});

describe("the process-wide client", () => {
  test("is the one that was set", async () => {
    const langfuse = new Langfuse(receiver.options);
    setLangfuse(langfuse);
    assert.equal(getLangfuse(), langfuse);
    assert.equal(getLangfuse(), langfuse);
    langfuse.startObservation("one").end();
    const report = await flushLangfuse();
    assert.deepEqual([report.ok, report.delivered], [true, 1]);
  });

  test("one import and one require in a process share it, and nest each other's steps", async () => {
    const required = createRequire(import.meta.url)("langfuse-edge");
    assert.notEqual(required.Langfuse, Langfuse, "they are two copies of the module");
    assert.equal(required.getLangfuse(), getLangfuse());
    await step("imported", () => required.step("required", () => step("imported again", () => "leaf")));
    const [imported, middle, leaf] = await Promise.all(["imported", "required", "imported again"].map(rowNamed));
    assert.deepEqual([imported.parentObservationId, middle.parentObservationId, leaf.parentObservationId], [null, imported.id, middle.id]);

    required.setLangfuse(new required.Langfuse(receiver.options));
    assert.equal(getLangfuse(), required.getLangfuse());
    await step("with the required client", () => undefined);
    assert.ok(await rowNamed("with the required client"));
  });

  const HELLO = `
    import assert from "node:assert/strict";
    import { flushLangfuse, getLangfuse, runWorkflowWithFlush, step } from "langfuse-edge";
    const result = {};
    assert.equal(await runWorkflowWithFlush(() => step("outer", () => step("inner", () => result))), result);
    const error = new Error("own");
    await assert.rejects(step("fails", () => Promise.reject(error)), (thrown) => thrown === error);
    assert.equal(getLangfuse(), getLangfuse());
    const { ok, delivered, attempts } = await flushLangfuse();
    console.log(getLangfuse().enabled, ok, delivered, attempts);`;

  test("is made from the environment on first use", async (t) => {
    const { code, output } = await startScript(t, HELLO, variablesFor(receiver.url)).done;
    assert.deepEqual([code, output], [0, "true true 0 0"]);
    assert.deepEqual((await receiver.rows()).map(({ name }) => name).toSorted(), ["fails", "inner", "outer"]);
  });

  test("without keys everything runs, with one warning", async (t) => {
    const { code, output } = await startScript(t, HELLO, { LANGFUSE_PUBLIC_KEY: "", LANGFUSE_SECRET_KEY: "" }).done;
    assert.equal(code, 0, output);
    assert.deepEqual(output.split("\n").toSorted(), [
      "false true 0 0",
      "langfuse-edge: tracing is disabled because publicKey (LANGFUSE_PUBLIC_KEY) is not set",
    ]);
  });

  test("with a variable that cannot be used everything runs, with one warning that names it", async (t) => {
    const { code, output } = await startScript(t, HELLO, variablesFor("not a url")).done;
    assert.equal(code, 0, output);
    const [warning, line, ...more] = output.split("\n").toSorted((a, b) => b.length - a.length);
    assert.match(warning, /^langfuse-edge: baseUrl \(LANGFUSE_BASE_URL\) must be .*: tracing is disabled$/);
    assert.deepEqual([line, more], ["false true 0 0", []]);
  });

  for (const [host, prepare] of [
    ["a host without process.getBuiltinModule", "delete process.getBuiltinModule;"],
    ["a host whose process is read-only and has no such function", "Object.defineProperty(process, 'getBuiltinModule', { value: undefined });"],
  ]) {
    test(`${host} has no current observation, and takes explicit parents`, async (t) => {
      const source = `
        ${prepare}
        const { step } = await import("langfuse-edge");
        const result = await step("root", (root) => step("child", () => step("orphan", () => "result"), { parent: root }));
        if (result !== "result") throw new Error(result);`;
      const { code, output } = await startScript(t, source, variablesFor(receiver.url)).done;
      assert.deepEqual([code, output], [0, ""]);
      const [root, child, orphan] = await Promise.all(["root", "child", "orphan"].map(rowNamed));
      assert.deepEqual([root.parentObservationId, child.parentObservationId, orphan.parentObservationId], [null, root.id, null]);
    });
  }
});

test("a step whose result cannot be recorded gives it all the same", async () => {
  const circular = {};
  circular.self = circular;
  assert.equal(await step("circular", () => circular, { input: 1n }), circular);
  await until(() => rowNamed("circular"));
  assert.equal((await rowNamed("circular")).output, '{"self":"[Circular]"}');
});
