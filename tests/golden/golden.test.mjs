// What arrives from `@langfuse/tracing` and from us, of the same programs.
import assert from "node:assert/strict";
import { after, before, describe, mock, test } from "node:test";

import { startReceiver } from "../js/support/receiver.mjs";
import { throughOfficial, throughOurs } from "./clients.mjs";
import { normalizedRows, normalizedScores } from "./comparison.mjs";
import { DIFFERENCES, EVERYWHERE } from "./differences.mjs";
import { PROGRAMS } from "./programs.mjs";

let receiver;
before(async () => {
  // Programs do what clients warn of.
  mock.method(console, "warn", () => {});
  receiver = await startReceiver();
});
after(() => receiver.stop());

/** What a program gave, and what it recorded, by the name of the observation or score. */
async function outcome(through, { options, run }) {
  await receiver.reset();
  const began = Date.now();
  const result = await through(receiver, options, run);
  const rows = await receiver.rows();
  const recorded = { ...normalizedRows(rows, began), ...normalizedScores(await receiver.scores(), rows, began) };
  return { result, recorded };
}

/** The attributes that are not the same, by observation, as theirs and ours. */
function differences(theirs, ours) {
  const found = {};
  for (const observation of Object.keys(theirs)) {
    const [a, b] = [theirs[observation].said, ours[observation].said];
    for (const attribute of Object.keys({ ...a, ...b })) {
      if (JSON.stringify(a[attribute]) !== JSON.stringify(b[attribute])) {
        (found[observation] ??= {})[attribute] = [a[attribute], b[attribute]];
      }
    }
  }
  return found;
}

/** The attributes that are known not to be the same, in the same form. */
function listed(program, recorded) {
  const expected = {};
  for (const [observation, { isScore }] of Object.entries(recorded)) {
    if (!isScore) expected[observation] = { ...EVERYWHERE.attributes };
  }
  for (const { attributes } of DIFFERENCES) {
    for (const [observation, own] of Object.entries(attributes[program] ?? {})) {
      const isDifferent = ([, [theirs, ours]]) => theirs !== ours;
      expected[observation] = { ...expected[observation], ...Object.fromEntries(Object.entries(own).filter(isDifferent)) };
    }
  }
  return expected;
}

/** The observations that differ in what Langfuse makes of them. */
const storedOtherwise = (program) =>
  DIFFERENCES.filter(({ isStoredAlike }) => !isStoredAlike).flatMap(({ attributes }) => Object.keys(attributes[program] ?? {}));

describe("the same as from @langfuse/tracing, but for the listed differences:", () => {
  for (const [name, program] of Object.entries(PROGRAMS)) {
    test(name, async () => {
      const theirs = await outcome(throughOfficial, program);
      const ours = await outcome(throughOurs, program);

      assert.deepEqual(ours.result, theirs.result);
      assert.deepEqual(Object.keys(ours.recorded).toSorted(), Object.keys(theirs.recorded).toSorted());
      assert.deepEqual(differences(theirs.recorded, ours.recorded), listed(name, theirs.recorded));
      for (const [observation, { stored }] of Object.entries(theirs.recorded)) {
        if (!storedOtherwise(name).includes(observation)) {
          assert.deepEqual(ours.recorded[observation].stored, stored, observation);
        }
      }
    });
  }

  test("every listed difference is of a program, and has a reason", () => {
    for (const { reason, attributes } of [...DIFFERENCES, EVERYWHERE]) {
      assert.match(reason, /^[A-Z].*\.$/);
      assert.ok(Object.keys(attributes).length > 0);
    }
    const programs = DIFFERENCES.flatMap(({ attributes }) => Object.keys(attributes));
    assert.deepEqual(programs.filter((name) => !PROGRAMS[name]), []);
  });
});
