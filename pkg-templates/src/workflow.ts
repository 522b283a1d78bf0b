/** Workflows that flush: `runWorkflowWithFlush` at the end, `step` after each step. */

import type { ObservationType } from "./core.js";
import { activeObservation, withinObservation } from "./context.js";
import { flushLangfuse, getLangfuse, messageOf } from "./observability.js";
import type { Observation } from "./observation.js";

/** A function, or an object with a method `run`. */
export type Workflow<Arguments extends unknown[], Result> =
  | ((...args: Arguments) => Result | PromiseLike<Result>)
  | { run(...args: Arguments): Result | PromiseLike<Result> };

/** Runs a workflow and then flushes, also when it fails; gives what the workflow gave, or fails as it did. */
export async function runWorkflowWithFlush<Arguments extends unknown[], Result>(
  workflow: Workflow<Arguments, Result>,
  ...args: Arguments
): Promise<Awaited<Result>> {
  try {
    return await (typeof workflow === "function" ? workflow(...args) : workflow.run(...args));
  } finally {
    await flushLangfuse();
  }
}

/** How a step is recorded. */
export interface StepOptions {
  /** What it stands for. Default: span. */
  asType?: ObservationType;
  /** What went in. */
  input?: unknown;
  /** The observation above it. Default: the step around it, on hosts with `AsyncLocalStorage`. */
  parent?: Observation;
}

/** How long a step waits for its flush; what is left then goes with the next one. */
const STEP_FLUSH_MS = 1000;

/**
 * Runs `run` as an observation of the process-wide client, and flushes when it has ended, so that a trace can be
 * watched step by step. The result becomes its output, unless it is undefined. An error gives it level ERROR and
 * is thrown on, unchanged. Steps inside it become its children.
 */
export async function step<Result>(
  name: string,
  run: (observation: Observation) => Result | PromiseLike<Result>,
  options: StepOptions = {},
): Promise<Awaited<Result>> {
  const langfuse = getLangfuse();
  const above = options.parent ?? activeObservation(langfuse) ?? langfuse;
  const attributes = options.input === undefined ? {} : { input: options.input };
  const observation = above.startObservation(name, attributes, { asType: options.asType ?? "span" });
  try {
    const result = await withinObservation(observation, () => run(observation));
    if (result !== undefined) {
      observation.update({ output: result });
    }
    return result;
  } catch (error) {
    observation.update({ level: "ERROR", statusMessage: messageOf(error) });
    throw error;
  } finally {
    observation.end();
    await langfuse.flush({ timeoutMs: STEP_FLUSH_MS });
  }
}
