// What arrives of what is recorded, at a receiver that a file of tests has for itself.
import assert from "node:assert/strict";
import { after, before, beforeEach } from "node:test";

import { Langfuse } from "langfuse-edge";

import { startReceiver } from "./receiver.mjs";

/** In place once the tests run. */
export let receiver;
before(async () => (receiver = await startReceiver()));
after(() => receiver.stop());
beforeEach(() => receiver.reset());

/** Calls `record` with a new client and gives the rows that the receiver has afterwards. */
export async function recorded(record, options = {}) {
  const langfuse = new Langfuse({ ...receiver.options, ...options });
  record(langfuse);
  const report = await langfuse.flush();
  assert.ok(report.ok, JSON.stringify(report));
  const rows = await receiver.rows();
  assert.equal(rows.length, report.delivered);
  return rows;
}

export async function recordedOne(attributes, options, clientOptions) {
  const [row] = await recorded((langfuse) => langfuse.startObservation("one", attributes, options).end(), clientOptions);
  return row;
}

/** The metadata the user gave, without what the server adds. */
export function ownMetadata({ metadata }) {
  const added = ([name]) => !/^(scope|resourceAttributes)\./.test(name);
  return Object.fromEntries(Object.entries(metadata).filter(added));
}
