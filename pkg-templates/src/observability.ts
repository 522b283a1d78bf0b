/** The process-wide client. */

import { warn } from "#process";
import { Langfuse } from "./client.js";
import { current } from "./context.js";
import type { FlushOptions, FlushReport, ObservationAttributes } from "./core.js";
import { sentenceOf } from "./report.js";
import { shared } from "./shared.js";
import { textOf } from "./text.js";

/** Makes this the process-wide client. */
export function setLangfuse(langfuse: Langfuse): void {
  shared().langfuse = langfuse;
}

/** Makes this the process-wide client, if there is none yet. */
export function setLangfuseIfUnset(langfuse: Langfuse): void {
  shared().langfuse ??= langfuse;
}

/**
 * The process-wide client: the one that was set, else one made from `process.env` on first use.
 * Without keys, or with a variable that cannot be used, it is disabled, and one warning says why.
 */
export function getLangfuse(): Langfuse {
  return (shared().langfuse ??= fromEnvironment());
}

/** The client that is current, else the process-wide one. */
export function activeLangfuse(): Langfuse {
  return current()?.client ?? getLangfuse();
}

function fromEnvironment(): Langfuse {
  try {
    return Langfuse.fromEnv();
  } catch (error) {
    const message = messageOf(error);
    warn(`${message}: tracing is disabled`);
    const disabled = new Langfuse({ enabled: false });
    disabled.lifetime.problem = message.replace(/^langfuse-edge: /, "");
    return disabled;
  }
}

/** What turns something else into observations, and may have some that are not recorded yet. */
export interface FlushHandler {
  /** Records what it has, now or by the time its promise is settled. */
  flush(options: FlushOptions): unknown;
}

/**
 * Lets `handler` finish whenever `flushLangfuse` is called, before the client sends: what it records then is sent with the rest. One that
 * fails is said in a warning, and stops nobody.
 *
 * @returns A function that undoes it.
 */
export function addFlushHandler(handler: FlushHandler): () => void {
  if (typeof handler?.flush !== "function") {
    throw new Error("langfuse-edge: addFlushHandler: handler must be an object with a method flush");
  }
  const handlers = (shared().handlers ??= new Set());
  handlers.add(handler);
  return () => void handlers.delete(handler);
}

/** Of a flush. */
const DEFAULT_FLUSH_MS = 25_000;

/**
 * Sends everything the process-wide client has recorded so far and waits until it is settled. Handlers of `addFlushHandler` finish
 * first, for which they have half of the time.
 *
 * It never rejects: what could not be delivered is said in one warning on the console, and is in the report.
 * A no-op when Langfuse is not configured.
 */
export async function flushLangfuse(options?: FlushOptions): Promise<FlushReport> {
  const langfuse = getLangfuse();
  const handlers = langfuse.enabled ? [...(shared().handlers ?? [])] : [];
  const left = handlers.length > 0 ? await finish(handlers, options) : options;
  const report = await langfuse.flush(left);
  if (!report.ok) {
    warn(sentenceOf(report));
  }
  return report;
}

/** Lets the handlers finish, and gives the options with the time that is left. */
async function finish(handlers: FlushHandler[], options: FlushOptions | undefined): Promise<FlushOptions> {
  const start = Date.now();
  const timeoutMs = options?.timeoutMs ?? DEFAULT_FLUSH_MS;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const isLate = new Promise<string>((resolve) => (timer = setTimeout(resolve, timeoutMs / 2, "it took too long")));
  await Promise.all(
    handlers.map(async (handler) => {
      let problem;
      try {
        const finished = Promise.resolve(handler.flush({ ...options, timeoutMs: timeoutMs / 2 }));
        problem = await Promise.race([finished.then(() => ""), isLate]);
      } catch (error) {
        problem = messageOf(error) || "it failed";
      }
      if (problem) warn(`langfuse-edge: flush: a handler was passed over: ${problem}`);
    }),
  );
  clearTimeout(timer);
  return { ...options, timeoutMs: Math.max(timeoutMs / 2, timeoutMs - (Date.now() - start)) };
}

/** What an observation says that has failed. */
export const failure = (error: unknown): ObservationAttributes => ({ level: "ERROR", statusMessage: messageOf(error) });

/** What an error says, whatever was thrown. */
export function messageOf(error: unknown): string {
  try {
    const message = (error as Partial<Error> | undefined | null)?.message;
    return typeof message === "string" ? message : (textOf(error) ?? String(error));
  } catch {
    return "";
  }
}
