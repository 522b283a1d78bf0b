/** Logs. */

import { warn } from "#process";
import type { Langfuse } from "./client.js";
import { activeObservation } from "./context.js";
import { levelOf, recordLine, type LogLevel } from "./log-event.js";
import { activeLangfuse } from "./observability.js";
import type { Observation } from "./observation.js";

/** Where a line of a log goes. */
export interface LogOptions {
  /** Who records it. Default: the client of the current observation, else the process-wide one. */
  client?: Langfuse;
  /** The observation above it. Default: the current one, on hosts with `AsyncLocalStorage`. */
  parent?: Observation;
}

/**
 * Records a line of a log as an event below the current observation, else as a trace of its own. It never throws.
 *
 * ```ts
 * import { log, startActiveObservation } from "langfuse-edge";
 *
 * startActiveObservation("import", () => {
 *   log("warn", "a row was left out", { row: 7 });
 * });
 * ```
 *
 * @param level `debug`, `info`, `warn` or `error`, for Langfuse's levels DEBUG, DEFAULT, WARNING and ERROR.
 * @param message Its first line is the event's name.
 * @param data What belongs to it: its metadata.
 */
export function log(level: LogLevel, message: string, data?: unknown, options: LogOptions = {}): void {
  const known = levelOf(level);
  if (!known) warn(`langfuse-edge: log: level must be debug, info, warn or error: recorded as info`);
  const client = options.client ?? options.parent?.client ?? activeLangfuse();
  recordLine(options.parent ?? activeObservation(client) ?? client, known ?? "DEFAULT", String(message), data);
}
