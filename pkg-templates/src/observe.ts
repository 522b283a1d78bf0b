/** Observations around functions: current while the function runs, ended when its result is complete. */

import { warn } from "#process";
import type { Langfuse, Observation, StartObservationOptions } from "./client.js";
import { activeObservation, current, withinObservation } from "./context.js";
import type { ObservationAttributes, ObservationType } from "./core.js";
import { getLangfuse, messageOf } from "./observability.js";
import { watched } from "./results.js";

/** How an observation around a function starts and ends. */
export interface ActiveObservationOptions extends StartObservationOptions {
  /** The client that records it. Default: the one of the current observation, else the process-wide one. */
  client?: Langfuse;
  /** Ends it when the result of the function is complete. Default: true. */
  endOnExit?: boolean;
}

/** How a wrapped function is observed. */
export interface ObserveOptions extends ActiveObservationOptions {
  /** Default: the function's name, else `anonymous-function`. Minifiers change names: give one. */
  name?: string;
  /** Takes the arguments for the input: the only one as it is, several as a list. Default: true. */
  captureInput?: boolean;
  /** Takes the result for the output; of a stream, the parts that were consumed. Default: true. */
  captureOutput?: boolean;
}

/**
 * Starts an observation: a child of the current one, or the root of a new trace.
 *
 * As `langfuse.startObservation`, for the client and the parent that are current. It is not made the current one.
 */
export function startObservation(
  name: string,
  attributes?: ObservationAttributes,
  options: StartObservationOptions & Pick<ActiveObservationOptions, "client"> = {},
): Observation {
  const client = options.client ?? current()?.client ?? getLangfuse();
  return client.startObservation(name, attributes, options);
}

/**
 * Calls `callback` with a new observation, which is the current one through everything the callback awaits, and gives
 * what it gives. The observation ends when that is complete: a promise when it is settled, a generator or a stream when it
 * has been consumed, cancelled or has failed. An error gives it level ERROR and is thrown on, unchanged.
 */
export function startActiveObservation<Result>(
  name: string,
  callback: (observation: Observation) => Result,
  options: ActiveObservationOptions = {},
): Result {
  const { endOnExit, ...rest } = options;
  const observation = startObservation(name, undefined, rest);
  return run(observation, () => callback(observation), { endOnExit, captureOutput: false });
}

/**
 * Wraps a function, so that each call is an observation, as with `startActiveObservation`, that has the arguments as its
 * input and the result as its output. The wrapped function takes and gives what the function does.
 */
export function observe<Arguments extends unknown[], Result, This>(
  fn: (this: This, ...args: Arguments) => Result,
  options: ObserveOptions = {},
): (this: This, ...args: Arguments) => Result {
  const { name = fn.name || "anonymous-function", captureInput = true, captureOutput = true, endOnExit, ...rest } = options;
  return function (...args) {
    const input = args.length > 1 ? args : args[0];
    const observation = startObservation(name, captureInput && args.length > 0 ? { input } : undefined, rest);
    return run(observation, () => fn.apply(this, args), { endOnExit, captureOutput });
  };
}

/**
 * Takes over what `attributes` says to the current observation, which stands for `options.asType` from now on, if that is given.
 * Without a current observation it warns and does nothing.
 */
export function updateActiveObservation(
  attributes: ObservationAttributes,
  options?: { client?: Langfuse; asType?: ObservationType },
): void {
  const observation = activeObservation(options?.client);
  if (observation) {
    observation.update(attributes, options?.asType);
  } else {
    warn("langfuse-edge: updateActiveObservation: there is no current observation");
  }
}

/** The id of the current observation's trace, 32 hex digits; undefined without one. */
export function getActiveTraceId(): string | undefined {
  return activeObservation()?.traceId;
}

/** The id of the current observation, 16 hex digits; undefined without one. */
export function getActiveSpanId(): string | undefined {
  return activeObservation()?.id;
}

interface RunOptions {
  endOnExit: boolean | undefined;
  captureOutput: boolean;
}

/** Runs `call` with the observation as the current one, and ends it when the result is complete. */
export function run<Result>(observation: Observation, call: () => Result, options: RunOptions): Result {
  const within = <R>(act: () => R): R => withinObservation(observation, act);
  const complete = (attributes: ObservationAttributes) => {
    observation.update(attributes);
    if (options.endOnExit !== false) {
      observation.end();
    }
  };
  const capture = (output: unknown) => (options.captureOutput && output !== undefined ? { output } : {});
  const failed = (error: unknown, output?: unknown) =>
    complete({
      level: "ERROR",
      statusMessage: messageOf(error) || "Function threw an error",
      ...capture(output ?? { error: String(error) }),
    });
  let result;
  try {
    result = within(call);
  } catch (error) {
    failed(error);
    throw error;
  }
  return watched(result, {
    within,
    complete({ output, error, hasFailed, isPartial }) {
      if (hasFailed) {
        failed(error, output);
      } else if (isPartial) {
        complete({ level: "WARNING", statusMessage: "the consumer stopped early", ...capture(output) });
      } else {
        complete(capture(output));
      }
    },
  });
}
