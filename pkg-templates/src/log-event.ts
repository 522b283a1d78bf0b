/** Lines of a log as events. */

import type { ObservationLevel } from "./core.js";
import type { Langfuse } from "./client.js";
import type { Observation } from "./observation.js";

/** How much a line of a log matters. */
export type LogLevel = "debug" | "info" | "warn" | "error";

const LEVELS: Record<LogLevel, ObservationLevel> = { debug: "DEBUG", info: "DEFAULT", warn: "WARNING", error: "ERROR" };

/** A name is a line of at most so many characters. */
const NAME_LENGTH = 120;

/** The level of an event; undefined when there is no such level. */
export const levelOf = (level: string): ObservationLevel | undefined => (Object.hasOwn(LEVELS, level) ? LEVELS[level as LogLevel] : undefined);

/** Records a line as an event, whose name is how it begins. */
export function recordLine(above: Observation | Langfuse, level: ObservationLevel, message: string, data?: unknown): void {
  const [line = ""] = message.split("\n", 1);
  const name = line.slice(0, NAME_LENGTH);
  const isMore = name !== message || level === "WARNING" || level === "ERROR";
  const hasNames = typeof data === "object" && data !== null && !Array.isArray(data) && !(data instanceof Error);
  above.startObservation(
    name,
    {
      level,
      ...(isMore && { statusMessage: message }),
      ...(data !== undefined && { metadata: (hasNames ? data : { data }) as Record<string, unknown> }),
    },
    { asType: "event" },
  );
}
