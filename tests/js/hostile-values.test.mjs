// Recording never throws, and nothing that is recorded can wear the module out.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";

import { Langfuse, setLangfuse, step } from "langfuse-edge";

import { startReceiver } from "./support/receiver.mjs";

const MIB = 1024 * 1024;

let receiver;
before(async () => (receiver = await startReceiver()));
after(() => receiver.stop());
beforeEach(() => receiver.reset());

const boom = () => {
  throw new Error("boom");
};

function revoked() {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

/** Values whose reading throws, where `attributes` says. */
const HOSTILE = {
  "metadata with a getter that throws": () => ({ metadata: { get bad() { return boom(); }, good: "kept" } }),
  "metadata whose keys cannot be listed": () => ({ metadata: new Proxy({}, { ownKeys: boom }) }),
  "metadata that is a revoked proxy": () => ({ metadata: revoked() }),
  "costs with a getter that throws": () => ({ costDetails: { get input() { return boom(); }, output: 0.5 } }),
  "model parameters that are a revoked proxy": () => ({ modelParameters: revoked() }),
  "usage that is a revoked proxy": () => ({ usageDetails: revoked() }),
  "a completion start that is a Date behind a proxy": () => ({ completionStartTime: new Proxy(new Date(0), {}) }),
};

for (const [what, attributes] of Object.entries(HOSTILE)) {
  test(`${what}: neither start nor update throws, and the rest is recorded`, async () => {
    const langfuse = new Langfuse(receiver.options);
    langfuse.startObservation("started", { ...attributes(), output: "kept" }).end();
    const updated = langfuse.startObservation("updated");
    updated.update({ ...attributes(), output: "kept" }).end();
    assert.equal((await langfuse.flush()).delivered, 2);
    for (const row of await receiver.rows()) assert.equal(row.output, "kept");
  });
}

test("one metadata value that cannot be read does not hide the others", async () => {
  const langfuse = new Langfuse(receiver.options);
  langfuse.startObservation("one", HOSTILE["metadata with a getter that throws"]()).end();
  await langfuse.flush();
  const [row] = await receiver.rows();
  assert.equal(row.metadata.good, "kept");
});

test("a start or end time that is a Date behind a proxy does not throw", async () => {
  const langfuse = new Langfuse(receiver.options);
  const date = new Proxy(new Date(), {});
  langfuse.startObservation("one", {}, { startTime: date }).end(date);
  assert.equal((await langfuse.flush()).delivered, 1);
});

for (const name of [undefined, null, 5, {}, Symbol("s"), ["list"], () => 1]) {
  test(`the name ${String(name)} does not throw, and the observation arrives`, async () => {
    const langfuse = new Langfuse(receiver.options);
    const root = langfuse.startObservation(name);
    root.startObservation(name).end();
    root.end();
    assert.equal((await langfuse.flush()).delivered, 2);
  });
}

test("a step whose name is no string runs its function and gives its result", async () => {
  setLangfuse(new Langfuse(receiver.options));
  for (const name of [undefined, 5]) assert.equal(await step(name, () => "result"), "result");
});

test("a status message is cut to 1 MiB as input and output are", async () => {
  const langfuse = new Langfuse(receiver.options);
  langfuse.startObservation("one", { level: "ERROR", statusMessage: "x".repeat(2 * MIB) }).end();
  await langfuse.flush();
  const [row] = await receiver.rows();
  assert.equal(row.statusMessage, `${"x".repeat(MIB)}…[truncated ${MIB} bytes]`);
});

test("5,000 values that throw leave the module as it was", async () => {
  const langfuse = new Langfuse(receiver.options);
  for (let n = 0; n < 5_000; n++) {
    try {
      langfuse.startObservation("one", HOSTILE["metadata with a getter that throws"]()).free();
    } catch (error) {
      assert.equal(error.message, "boom", `after ${n} of them`);
    }
  }
  const later = new Langfuse(receiver.options);
  later.startObservation("later").end();
  assert.equal((await later.flush()).delivered > 0, true);
});
