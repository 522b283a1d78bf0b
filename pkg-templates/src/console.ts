/**
 * What a program prints on the console, as events.
 *
 * @module langfuse-edge/console
 */

import { activeObservation } from "./context.js";
import { levelOf, recordLine, type LogLevel } from "./log-event.js";
import { shared } from "./shared.js";
import { textOf } from "./text.js";

/** What of the console is recorded. */
export interface CaptureConsoleOptions {
  /** From which level on. `console.log` is `info`. Default: info. */
  level?: LogLevel;
}

const METHODS = { debug: "debug", log: "info", info: "info", warn: "warn", error: "error" } as const;
const LEVELS: LogLevel[] = ["debug", "info", "warn", "error"];

/** By what our own warnings begin, which are not about what is traced. */
const OWN = "langfuse-edge";

/**
 * Records what the program prints with `console.debug`, `log`, `info`, `warn` and `error` as events below the current observation;
 * outside of one nothing is recorded. It is printed as ever. What this package says itself is not recorded.
 *
 * ```ts
 * import { startActiveObservation } from "langfuse-edge";
 * import { captureConsole } from "langfuse-edge/console";
 *
 * const release = captureConsole({ level: "warn" });
 * startActiveObservation("import", () => console.warn("%d rows were left out", 7));
 * release();
 * ```
 *
 * @returns A function that undoes it. Called again before that, it does nothing.
 * @throws Error when there is no such level.
 */
export function captureConsole(options: CaptureConsoleOptions = {}): () => void {
  const least = LEVELS.indexOf(options.level ?? "info");
  if (least < 0) {
    throw new Error("langfuse-edge: captureConsole: level must be debug, info, warn or error");
  }
  const state = shared();
  if (state.hasConsole) return () => {};
  state.hasConsole = true;
  let isOn = true;
  let isRecording = false;
  const host = console as unknown as Record<string, (...args: unknown[]) => void>;
  const replaced = Object.entries(METHODS)
    .filter(([, level]) => LEVELS.indexOf(level) >= least)
    .map(([name, level]) => {
      const print = host[name] as (...args: unknown[]) => void;
      const printing = function (this: unknown, ...args: unknown[]): void {
        Reflect.apply(print, this, args);
        // Recording may print in its turn.
        if (!isOn || isRecording) return;
        isRecording = true;
        try {
          const observation = activeObservation();
          const message = observation && formatted(args);
          if (observation && message && !message.startsWith(OWN)) recordLine(observation, levelOf(level) ?? "DEFAULT", message);
        } catch {
          // Printing does not fail for it.
        } finally {
          isRecording = false;
        }
      };
      host[name] = printing;
      return { name, print, printing };
    });
  return () => {
    if (!isOn) return;
    isOn = false;
    state.hasConsole = false;
    // Whoever has replaced it since has ours behind it, which only prints now.
    for (const { name, print, printing } of replaced) if (host[name] === printing) host[name] = print;
  };
}

/** As the console prints it, more or less: placeholders filled in, everything else behind. */
function formatted(args: readonly unknown[]): string {
  const rest = [...args];
  const [first] = rest;
  if (typeof first !== "string") return rest.map(shown).join(" ");
  rest.shift();
  const text = first.replace(/%([sdifjoOc%])/g, (placeholder, kind: string) => {
    if (kind === "%") return "%";
    if (rest.length === 0) return placeholder;
    const value = rest.shift();
    return kind === "c" ? "" : shown(value);
  });
  return [text, ...rest.map(shown)].join(" ");
}

function shown(value: unknown): string {
  if (value instanceof Error) return value.stack ?? String(value);
  return textOf(value) ?? String(value);
}
