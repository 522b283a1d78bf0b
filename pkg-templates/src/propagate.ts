/** What all observations of a trace say: the user, the session, tags. */

import { warn as say } from "#process";
import type { Langfuse } from "./client.js";
import { current, entering } from "./context.js";
import type { TraceAttributes } from "./core.js";
import { activeLangfuse } from "./observability.js";
import type { Observation } from "./observation.js";
import { mergedTrace } from "./trace.js";

/** What `propagateAttributes` gives to the current observation and to all that start within. */
export interface PropagatedAttributes extends Omit<TraceAttributes, "release" | "public"> {
  /** Values are texts. */
  metadata?: Record<string, string>;
}

/** A longer text is an error of the caller's more often than not, and Langfuse's own clients drop it. */
const LONGEST = 200;
const LONGEST_ENVIRONMENT = 40;

/** What attributes are propagated to. */
export interface PropagateOptions {
  /** The client. Default: the one of the current observation, else the process-wide one. */
  client?: Langfuse;
  /**
   * The observation, with what is started below it. Default: the current one. Hosts without `AsyncLocalStorage` know of no
   * current one.
   */
  observation?: Observation;
}

/**
 * Calls `callback` and gives what it gives; the current observation and all that start within, of whatever function, say
 * what `attributes` says. Within another call, tags and metadata are added to its own, and anything else replaces it.
 *
 * A text of more than 200 characters is left out, as is an environment that is not 1 to 40 of `a-z 0-9 _ -` or that begins
 * with `langfuse`; a warning names each. What the callback throws is thrown on; nothing else is thrown.
 */
export function propagateAttributes<Result>(
  attributes: PropagatedAttributes,
  callback: () => Result,
  options: PropagateOptions = {},
): Result {
  const client = options.observation?.client ?? options.client ?? activeLangfuse();
  const around = current(client);
  const observation = options.observation ?? around?.observation;
  const own: TraceAttributes = {};
  try {
    takeValid(attributes, own);
  } catch {
    console.warn("langfuse-edge: propagateAttributes: the attributes cannot be read");
  }
  // What starts below the current observation, within the callback, gets it from the context.
  observation?.propagate(own, !!options.observation);
  return entering({ client, observation, propagated: mergedTrace(around?.propagated, own) })(callback);
}

function takeValid(attributes: PropagatedAttributes, kept: TraceAttributes): void {
  const { environment, tags, metadata, prompt } = attributes;
  for (const name of ["userId", "sessionId", "traceName", "version"] as const) {
    const value = attributes[name];
    // An empty one says nothing, and takes nothing away.
    if (isGiven(value) && value !== "" && isShort(value, name)) {
      kept[name] = value;
    }
  }
  if (isGiven(environment) && isEnvironment(environment)) {
    kept.environment = environment;
  }
  if (Array.isArray(tags)) {
    kept.tags = (tags as string[]).filter((tag) => isShort(tag, "tags"));
  } else if (isGiven(tags)) {
    warn("tags", "a list of texts");
  }
  if (isGiven(metadata)) {
    kept.metadata = Object.fromEntries(
      Object.entries(metadata).filter(([name, value]) => isGiven(value) && isShort(value, `metadata.${name}`)),
    );
  }
  if (isGiven(prompt) && isPrompt(prompt)) {
    kept.prompt = prompt;
  }
}

const isGiven = <T>(value: T): value is NonNullable<T> => value !== undefined && value !== null;

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
