// What an observed function gives, and how its observation ended.
import { observe } from "langfuse-edge";

import { endOf, observed } from "./observed.mjs";

/** As `observed`, and for the only observation of a test: `result` makes it, `end` says how it ended. */
export function observedResults() {
  const { client, receiver, rows } = observed();
  return {
    client,
    receiver,
    rows,
    /** What `observe` makes of a function that gives this, called once. */
    result: (value, options) => observe(() => value, { name: "one", ...options })(),
    /** Undefined while it is open. */
    async end() {
      const { one } = await rows();
      return one && endOf(one);
    },
  };
}

export const boom = () => {
  throw new Error("boom");
};

export async function all(iterable) {
  const parts = [];
  for await (const part of iterable) parts.push(part);
  return parts;
}

export const text = (chunk) => new TextDecoder().decode(chunk);
export const bytes = (text) => new TextEncoder().encode(text);
