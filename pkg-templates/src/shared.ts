/** What all copies of this module in one process share: `import` and `require` load one each. */

import type { Langfuse, Observation } from "./client.js";

/** The part of `AsyncLocalStorage` that is used. */
export interface Storage<T> {
  getStore(): T | undefined;
  run<R>(store: T, callback: () => R): R;
}

interface Shared {
  langfuse?: Langfuse;
  /** Absent until it is first asked for, null where the host has none. */
  currentObservation?: Storage<Observation> | null;
}

const KEY = Symbol.for("langfuse-edge");

export function shared(): Shared {
  const host = globalThis as { [KEY]?: Shared };
  return (host[KEY] ??= {});
}
