// Workflows of LlamaIndex's, as `@llamaindex/workflow-core` is on npm.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { createWorkflow, or, workflowEvent } from "@llamaindex/workflow-core";
import { flushLangfuse, Langfuse, runWorkflowWithFlush, startActiveObservation, startObservation, step, traceWorkflow } from "langfuse-edge";

import { COMPLETE, endOf, failedWith, observed } from "./support/observed.mjs";
import { until } from "./support/until.mjs";

const { receiver, rows } = observed();

const start = workflowEvent({ debugLabel: "triage" });
const plan = workflowEvent({ debugLabel: "plan" });
const stop = workflowEvent({ debugLabel: "stop" });
const options = { name: "emails", startEvent: start, stopEvent: stop };

/** Two steps: one that waits, one that is done at once. */
function emails() {
  const workflow = createWorkflow();
  workflow.handle([start], async (_, { data }) => {
    await Promise.resolve();
    startObservation("inside").end();
    return plan.with({ tools: [data] });
  });
  workflow.handle([plan], (_, { data }) => stop.with(`done: ${data.tools}`));
  return workflow;
}

describe("a traced workflow", () => {
  test("runs, and gives the data of its stop event", async () => {
    const traced = traceWorkflow(emails(), options);
    assert.equal(await runWorkflowWithFlush(traced, "mail"), "done: mail");
    const { emails: whole, triage, plan: planned, inside } = await rows();
    assert.deepEqual([whole.parentObservationId, whole.input, ...endOf(whole)], [null, "mail", ...COMPLETE, "done: mail"]);
    assert.deepEqual([triage.parentObservationId, triage.input, ...endOf(triage)], [whole.id, "mail", ...COMPLETE, '{"tools":["mail"]}']);
    assert.deepEqual([planned.parentObservationId, planned.input, ...endOf(planned)], [whole.id, '{"tools":["mail"]}', ...COMPLETE, "done: mail"]);
    assert.equal(inside.parentObservationId, triage.id);
  });

  test("is the workflow to everybody who uses it as LlamaIndex says", async () => {
    const workflow = emails();
    const traced = traceWorkflow(workflow, options);
    assert.equal(traced.handle, workflow.handle);
    const { sendEvent, stream } = traced.createContext();
    sendEvent(start.with("mail"));
    const events = await stream.until(stop).toArray();
    assert.deepEqual(events.map(({ data }) => data), ["mail", { tools: ["mail"] }, "done: mail"]);
    assert.equal((await rows()).emails.output, "done: mail");
  });

  test("a step that rejects, or throws, ends itself and the whole with level ERROR, and the run fails as it did", async () => {
    for (const fail of [async () => { throw new Error("no model"); }, () => { throw new Error("no model"); }]) {
      await receiver().reset();
      const workflow = createWorkflow();
      workflow.handle([start], fail);
      await assert.rejects(runWorkflowWithFlush(traceWorkflow(workflow, options), "mail"), /^Error: no model$/);
      const { emails: whole, triage } = Object.fromEntries((await receiver().rows()).map((row) => [row.name, row]));
      assert.deepEqual([endOf(whole), endOf(triage)], [[...failedWith("no model"), null], [...failedWith("no model"), null]]);
    }
  });

  test("steps are at the receiver before the workflow ends", async () => {
    const workflow = createWorkflow();
    workflow.handle([start], async () => plan.with(1));
    workflow.handle([plan], async () => {
      await until(async () => (await receiver().rows()).some(({ name }) => name === "triage"));
      return stop.with("seen");
    });
    assert.equal(await traceWorkflow(workflow, options).run("mail"), "seen");
  });

  test("a step whose events are handled while it runs has those steps below it", async () => {
    const done = workflowEvent({ debugLabel: "done" });
    const workflow = createWorkflow();
    workflow.handle([start], async ({ sendEvent, stream }) => {
      for (const id of [1, 2, 3]) sendEvent(plan.with(id));
      let left = 3;
      await stream.filter(done).until(() => --left === 0).toArray();
      return stop.with("all");
    });
    workflow.handle([plan], async (_, { data }) => done.with(data));
    assert.equal(await traceWorkflow(workflow, { ...options, stepName: ([event]) => `step ${event.debugLabel}` }).run("mail"), "all");
    await flushLangfuse();
    const all = await receiver().rows();
    const triage = all.find(({ name }) => name === "step triage");
    assert.deepEqual(all.filter(({ name }) => name === "step plan").map(({ parentObservationId }) => parentObservationId), [triage.id, triage.id, triage.id]);
  });

  test("without a stop event the whole ends when no step is running", async () => {
    const traced = traceWorkflow(emails(), { name: "no stop", captureEvents: false });
    const { sendEvent, stream } = traced.createContext();
    sendEvent(start.with("mail"));
    await stream.until(stop).toArray();
    const { "no stop": whole, triage } = await rows();
    assert.deepEqual([whole.input, ...endOf(whole)], [null, ...COMPLETE, null]);
    assert.deepEqual([triage.input, triage.output], [null, null]);
  });

  test("concurrent runs keep separate traces, below what is current for each", async () => {
    const traced = traceWorkflow(emails(), options);
    await Promise.all(Array.from({ length: 10 }, (_, id) => step(`request ${id}`, () => traced.run(`mail ${id}`))));
    const all = await receiver().rows();
    assert.equal(all.length, 50);
    assert.equal(new Set(all.map(({ traceId }) => traceId)).size, 10);
    for (const whole of all.filter(({ name }) => name === "emails")) {
      assert.equal(all.find(({ id }) => id === whole.parentObservationId).name, whole.input.replace("mail", "request"));
    }
  });

  test("events of several kinds, and events without labels, name steps as well as can be", async () => {
    const bare = workflowEvent();
    const workflow = createWorkflow();
    workflow.handle([start], ({ sendEvent }) => sendEvent(bare.with(1), plan.with(2)));
    workflow.handle([bare], () => undefined);
    workflow.handle([or(plan, bare)], () => stop.with("s"));
    await traceWorkflow(workflow, options).run("mail");
    await flushLangfuse();
    const names = (await receiver().rows()).map(({ name }) => name);
    assert.deepEqual(names.toSorted(), ["emails", "plan", "step", "step", "triage"]);
  });

  test("a client of one's own records it, and a disabled one nothing", async () => {
    const own = new Langfuse(receiver().options);
    const traced = traceWorkflow(emails(), { ...options, client: own });
    await startActiveObservation("own", () => traced.run("mail"), { client: own });
    const found = await rows(own);
    assert.equal(found.emails.parentObservationId, found.own.id);
    await receiver().reset();
    assert.equal(await traceWorkflow(emails(), { ...options, client: new Langfuse({ enabled: false }) }).run("mail"), "done: mail");
    assert.equal((await receiver().rows()).length, 0);
  });

  test("what is no workflow, and a run without its events, is refused", async () => {
    assert.throws(() => traceWorkflow({}), /^Error: langfuse-edge: traceWorkflow: workflow must be an object with a method createContext/);
    await assert.rejects(traceWorkflow(emails()).run(), /^Error: langfuse-edge: traceWorkflow: run needs the options startEvent and stopEvent/);
    await assert.rejects(runWorkflowWithFlush(emails(), "mail"), /make one of it with traceWorkflow\(workflow, { startEvent, stopEvent }\)$/);
  });
});
