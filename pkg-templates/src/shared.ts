/** What all copies of this module in one process share: `import` and `require` load one each. */

import type { Langfuse } from "./client.js";
import type { Current } from "./context.js";
import type { FlushOptions } from "./core.js";
import type { LlmCallbackHandler } from "./llm.js";
import type { FlushHandler } from "./observability.js";

/** The part of `AsyncLocalStorage` that is used. */
export interface Storage<T> {
  getStore(): T | undefined;
  run<R>(store: T, callback: () => R): R;
}

/** What sends for a client. */
export interface SharedSender {
  flush(options: FlushOptions): Promise<unknown>;
  /** Sends what waits, because the process ends otherwise. */
  flushAtTheEnd(): void;
}

interface Shared {
  langfuse?: Langfuse;
  /** Absent until it is first asked for, null where the host has none. */
  current?: Storage<Current> | null;
  /** In a process, what sends for the clients. Absent until there is one. */
  senders?: Set<WeakRef<SharedSender>>;
  /** Takes those from the list that are no more. */
  collected?: FinalizationRegistry<WeakRef<SharedSender>>;
  /** What flushes on signals. */
  hooks?: Set<unknown>;
  /** How many of these are at it. */
  ending?: number;
  llmHandler?: LlmCallbackHandler;
  /** Those that have calls under way. */
  underWay?: Set<{ flush(): void }>;
  /** Ends the calls that nobody will end. Absent until there was a call. */
  endOrphans?: () => void;
  /** Generations of calls that are traced where they are made. */
  made?: WeakSet<object>;
  /** The callback managers of LlamaIndex that are listened to. */
  attached?: WeakSet<object>;
  /** Whether the console is captured. */
  hasConsole?: boolean;
  /** What `flushLangfuse` lets finish first. */
  handlers?: Set<FlushHandler>;
}

const KEY = Symbol.for("langfuse-edge");

export function shared(): Shared {
  const host = globalThis as { [KEY]?: Shared };
  return (host[KEY] ??= {});
}
