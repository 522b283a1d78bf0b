/** What all copies of this module in one process share: `import` and `require` load one each. */

import type { Langfuse } from "./client.js";
import type { Current } from "./context.js";

/** The part of `AsyncLocalStorage` that is used. */
export interface Storage<T> {
  getStore(): T | undefined;
  run<R>(store: T, callback: () => R): R;
}

interface Shared {
  langfuse?: Langfuse;
  /** Absent until it is first asked for, null where the host has none. */
  current?: Storage<Current> | null;
}

const KEY = Symbol.for("langfuse-edge");

export function shared(): Shared {
  const host = globalThis as { [KEY]?: Shared };
  return (host[KEY] ??= {});
}
