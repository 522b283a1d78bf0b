/** The process-wide client. */

import { warn } from "#process";
import { Langfuse } from "./client.js";
import type { FlushOptions, FlushReport } from "./core.js";
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

function fromEnvironment(): Langfuse {
  try {
    return Langfuse.fromEnv();
  } catch (error) {
    warn(`${messageOf(error)}: tracing is disabled`);
    return new Langfuse({ enabled: false });
  }
}

/**
 * Sends everything the process-wide client has recorded so far and waits until it is settled.
 *
 * It never rejects: what could not be delivered is said in one warning on the console, and is in the report.
 * A no-op when Langfuse is not configured.
 */
export async function flushLangfuse(options?: FlushOptions): Promise<FlushReport> {
  const report = await getLangfuse().flush(options);
  if (!report.ok) {
    warn(sentenceOf(report));
  }
  return report;
}

/** What an error says, whatever was thrown. */
export function messageOf(error: unknown): string {
  try {
    const message = (error as Partial<Error> | undefined | null)?.message;
    return typeof message === "string" ? message : (textOf(error) ?? String(error));
  } catch {
    return "";
  }
}
