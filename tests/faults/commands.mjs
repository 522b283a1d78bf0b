// What the clients of the fault matrix do when they are told to; `native.rs` does the same.
import { spoilMemory } from "../js/support/traps.mjs";

/**
 * Does one command: `record` ends so many observations and creates scores with these ids, then, in the same turn, `flush`
 * flushes. One of the observations may be odd: in name, or in the size of its input or metadata. `trap` makes the
 * next call into wasm trap.
 */
export async function answer(langfuse, { record, flush, trap }) {
  if (trap) spoilMemory();
  const ids = record ? recordAll(langfuse, record) : [];
  return { ids, report: flush && (await langfuse.flush(flush)) };
}

export function recordAll(langfuse, { count, bytes = 10, odd, scores = [] }) {
  const ids = recordObservations(langfuse, { count, bytes, odd });
  for (const id of scores) langfuse.score.create({ id, name: id, value: 1, sessionId: "faults" });
  return ids;
}

function recordObservations(langfuse, { count, bytes, odd }) {
  return Array.from({ length: count }, (_, index) => {
    const one = { name: "event", bytes, ...(odd?.at === index && odd) };
    const metadata = one.metadataBytes && { large: payload(one.metadataBytes, index) };
    const usageDetails = { input: 512, output: 128 };
    const attributes = { model: "gpt-4o", input: payload(one.bytes, index), metadata, usageDetails };
    const observation = langfuse.startObservation(one.name, attributes, { asType: "generation" });
    observation.end();
    return observation.id;
  });
}

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** Text that does not compress. */
function payload(bytes, seed) {
  let state = seed;
  let text = "";
  while (text.length < bytes) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    text += ALPHABET[state >>> 26];
  }
  return text;
}
