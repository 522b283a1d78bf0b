// The queue is bounded, and what that costs is said.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Langfuse } from "langfuse-edge";

import { receiverFor } from "./support/receiver.mjs";

/** Records observations of 1 MiB, of which 16 MiB hold 15. */
function recordLarge(langfuse, count) {
  const input = "x".repeat(1024 * 1024);
  return Array.from({ length: count }, () => {
    const observation = langfuse.startObservation("large", { input });
    observation.end();
    return observation.id;
  });
}

/** What is said meanwhile. */
function warningsOf(t) {
  const { mock } = t.mock.method(console, "warn", () => {});
  return () => mock.calls.map(({ arguments: words }) => words.join(" "));
}

test("more than 16 MiB: the oldest are given up, and the next flush reports how many and why", async (t) => {
  warningsOf(t);
  const receiver = await receiverFor(t);
  const langfuse = new Langfuse(receiver.options);
  const ids = recordLarge(langfuse, 20);
  const report = await langfuse.flush();
  const arrived = (await receiver.rows()).map(({ id }) => id);
  assert.deepEqual(arrived, ids.slice(5), "the newest are the ones that are kept");
  assert.deepEqual(
    [report.ok, report.delivered, report.dropped, report.dropReasons, report.retained],
    [false, 15, 5, { queue_full: 5 }, 0],
  );
  const after = await langfuse.flush();
  assert.deepEqual([after.ok, after.dropped], [true, 0], "and no later one does");
});

test("records given up while a flush is under way are in its report", async (t) => {
  warningsOf(t);
  const receiver = await receiverFor(t);
  await receiver.fault({ status: 503 });
  const langfuse = new Langfuse(receiver.options);
  recordLarge(langfuse, 15);
  const flushing = langfuse.flush({ timeoutMs: 1000 });
  recordLarge(langfuse, 15);
  const report = await flushing;
  assert.equal(report.ok, false);
  assert.equal(report.delivered + report.retained + report.dropped, 15);
  assert.ok(report.dropped > 0);
  assert.deepEqual(report.dropReasons, { queue_full: report.dropped });
});

test("that observations are dropped is said once, and again only after a flush that has delivered everything", async (t) => {
  const warnings = warningsOf(t);
  const receiver = await receiverFor(t);
  const langfuse = new Langfuse(receiver.options);
  recordLarge(langfuse, 15);
  assert.deepEqual(warnings(), []);
  recordLarge(langfuse, 5);
  assert.equal(warnings().length, 1);
  assert.match(warnings()[0], /^langfuse-edge: .*16 MiB or 100000 observations.* dropped: flush more often$/);

  assert.equal((await langfuse.flush()).ok, false);
  recordLarge(langfuse, 20);
  assert.equal(warnings().length, 1, "that flush had dropped observations to report");

  await langfuse.flush();
  recordLarge(langfuse, 1);
  assert.equal((await langfuse.flush()).ok, true);
  recordLarge(langfuse, 20);
  assert.equal(warnings().length, 2);
});

test("a client that is shut down drops without a warning about its queue", async (t) => {
  const warnings = warningsOf(t);
  const receiver = await receiverFor(t);
  const langfuse = new Langfuse(receiver.options);
  await langfuse.shutdown();
  recordLarge(langfuse, 20);
  assert.deepEqual(warnings(), []);
});
