/** How clients end with the process. */

import { flushOnSignals as install } from "#process";
import type { FlushOptions } from "./core.js";

/** Options of `flushOnSignals`. */
export interface SignalOptions {
  /** Milliseconds until the process ends, whatever the server does. Default: 5,000. */
  timeoutMs?: number;
  /** The clients to flush. Default: all that the process has when the signal comes. */
  clients?: Iterable<{
    /** Sends what was recorded. */
    flush(options?: FlushOptions): Promise<unknown>;
  }>;
}

/**
 * Flushes when the process gets SIGTERM or SIGINT, and then lets it end as it would have ended: by the signal, or as the
 * other listeners of the signal will have it. A second signal ends it at once. On hosts without a process it does nothing.
 *
 * @returns A function that undoes it.
 */
export function flushOnSignals(options?: SignalOptions): () => void {
  return install(options);
}
