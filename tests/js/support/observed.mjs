// A client and a receiver of a test file's own, and what has arrived there.
import assert from "node:assert/strict";
import { after, before, beforeEach } from "node:test";

import { Langfuse, setLangfuse } from "langfuse-edge";

import { startReceiver } from "./receiver.mjs";

/**
 * To be called once, at the top of a test file. Each test begins with a process-wide client of its own and nothing arrived;
 * `client` begins again.
 */
export function observed() {
  let receiver;
  let langfuse;
  const client = async (options) => {
    await receiver.reset();
    langfuse = new Langfuse({ ...receiver.options, ...options });
    setLangfuse(langfuse);
    return langfuse;
  };
  before(async () => (receiver = await startReceiver()));
  after(() => receiver.stop());
  beforeEach(() => client());
  /** The rows of what has ended, by name; a name that comes twice is an error. */
  const rows = async (of = langfuse) => {
    const report = await of.flush();
    assert.ok(report.ok, JSON.stringify(report));
    const rows = await receiver.rows();
    const byName = Object.fromEntries(rows.map((row) => [row.name, row]));
    assert.equal(Object.keys(byName).length, rows.length, `a name came twice: ${rows.map(({ name }) => name)}`);
    return byName;
  };
  return { client, rows, receiver: () => receiver };
}

/** How an observation says that it ended. */
export const endOf = ({ level, statusMessage, output }) => [level, statusMessage ?? null, output];

export const COMPLETE = ["DEFAULT", null];
export const STOPPED = ["WARNING", "the consumer stopped early"];
export const failedWith = (message) => ["ERROR", message];

/** A promise and what settles it. */
export function deferred() {
  let resolve, reject;
  const promise = new Promise((...settle) => ([resolve, reject] = settle));
  return { promise, resolve, reject };
}
