/** What all observations of a trace say: the user, the session, tags. */

import { warn as say } from "#process";
import type { Langfuse } from "./client.js";
import { current, within } from "./context.js";
import type { TraceAttributes } from "./core.js";
import { getLangfuse } from "./observability.js";

/** What `propagateAttributes` gives to the current observation and to all that start within. */
export interface PropagatedAttributes extends Omit<TraceAttributes, "release" | "public"> {
  /** Values are texts. */
  metadata?: Record<string, string>;
}

/** A longer text is an error of the caller's more often than not, and Langfuse's own clients drop it. */
const LONGEST = 200;
const LONGEST_ENVIRONMENT = 40;

/**
 * Calls `callback`; the current observation and all that start within, of whatever function, say what `attributes` says.
 * Within another call, tags and metadata are added to its own, and anything else replaces it.
 *
 * A text of more than 200 characters is left out, as is an environment that is not 1 to 40 of `a-z 0-9 _ -` or that begins
 * with `langfuse`; a warning names each. Without `AsyncLocalStorage` only the current observation is known: start the others as
 * its children.
 */
export function propagateAttributes<Result>(
  attributes: PropagatedAttributes,
  callback: () => Result,
  options: { client?: Langfuse } = {},
): Result {
  const around = current(options.client);
  const client = options.client ?? around?.client ?? getLangfuse();
  const observation = around?.observation;
  const outer = around?.propagated;
  const own = valid(attributes);
  const propagated: TraceAttributes = { ...outer, ...own };
  if (outer?.tags && own.tags) {
    propagated.tags = [...new Set([...outer.tags, ...own.tags])];
  }
  if (outer?.metadata && own.metadata) {
    propagated.metadata = { ...outer.metadata, ...own.metadata };
  }
  observation?.propagate(propagated);
  return within({ client, observation, propagated }, callback);
}

function valid(attributes: PropagatedAttributes): TraceAttributes {
  const kept: TraceAttributes = {};
  for (const name of ["userId", "sessionId", "traceName", "version"] as const) {
    const value = attributes[name];
    // An empty one says nothing, and takes nothing away.
    if (value && isShort(value, name)) {
      kept[name] = value;
    }
  }
  const { environment, tags, metadata, prompt } = attributes;
  if (environment !== undefined && isEnvironment(environment)) {
    kept.environment = environment;
  }
  if (tags) {
    kept.tags = tags.filter((tag) => isShort(tag, "tags"));
  }
  if (metadata) {
    kept.metadata = Object.fromEntries(
      Object.entries(metadata).filter(([name, value]) => isShort(value, `metadata.${name}`)),
    );
  }
  if (prompt && isPrompt(prompt)) {
    kept.prompt = prompt;
  }
  return kept;
}

function isShort(value: unknown, name: string): boolean {
  const isValid = typeof value === "string" && value.length <= LONGEST;
  if (!isValid) {
    warn(name, `a text of at most ${LONGEST} characters`);
  }
  return isValid;
}

function isEnvironment(value: unknown): boolean {
  const isValid =
    typeof value === "string" &&
    value.length <= LONGEST_ENVIRONMENT &&
    /^(?!langfuse)[a-z0-9_-]+$/.test(value);
  if (!isValid) {
    warn("environment", `1 to ${LONGEST_ENVIRONMENT} of a-z 0-9 _ - and must not begin with langfuse`);
  }
  return isValid;
}

/** Langfuse links a prompt by its name and the number of its version. */
function isPrompt({ name, version, isFallback }: NonNullable<TraceAttributes["prompt"]>): boolean {
  const isValid = !!name && typeof name === "string" && /^\d+$/.test(String(version));
  if (!isValid && !isFallback) {
    warn("prompt", "of a name and a version that is a whole number");
  }
  return isValid && !isFallback;
}

function warn(name: string, rule: string): void {
  say(`langfuse-edge: propagateAttributes: ${name} is left out: it must be ${rule}`);
}
