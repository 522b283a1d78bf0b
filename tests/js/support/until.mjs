import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

/** The first truthy value of `probe`; a failure when there is none in time. */
export async function until(probe, milliseconds = 5000) {
  for (const end = Date.now() + milliseconds; Date.now() < end; await sleep(10)) {
    const value = await probe();
    if (value) return value;
  }
  assert.fail(`not within ${milliseconds} ms: ${probe}`);
}
