/** Observations around functions: current while the function runs, ended when its result is complete. */

import { warn } from "#process";
import type { Langfuse } from "./client.js";
import { activeObservation, enter } from "./context.js";
import type { ObservationAttributes, ObservationType } from "./core.js";
import { activeLangfuse, messageOf } from "./observability.js";
import type { AttributesOf, Observation, StartObservationOptions } from "./observation.js";
import { watched } from "./results.js";

/** How an observation around a function starts and ends. */
export interface ActiveObservationOptions<Type extends ObservationType = ObservationType> extends StartObservationOptions<Type> {
  /** The client that records it. Default: the one of the current observation, else the process-wide one. */
  client?: Langfuse;
  /** Ends it when the result of the function is complete. Default: true. With false, `end()` is the caller's to call. */
  endOnExit?: boolean;
}

/** How a wrapped function is observed. */
export interface ObserveOptions extends ActiveObservationOptions {
  /** Default: the function's name, else `anonymous-function`. Minifiers change names: give one. */
  name?: string;
  /** Takes the arguments for the input: the only one as it is, several as a list. Default: true. */
  captureInput?: boolean;
  /**
   * Takes the result for the output; of a stream, the parts that were consumed: the first 10,000, and the number of the
   * others. Default: true.
   */
  captureOutput?: boolean;
}

/**
 * Starts an observation: a child of the current one, or the root of a new trace.
 *
 * As `langfuse.startObservation`, for the client and the parent that are current. It is not made the current one. It never
 * throws: what cannot be used is left out, with a warning where that is a mistake.
 *
 * @param name What it is called.
 * @param attributes What it says from the start. Which there are depends on `options.asType`. Default: nothing.
 * @param options Its type (default: span), its start (default: now), its parent (default: the current observation).
 */
export function startObservation<Type extends ObservationType = "span">(
  name: string,
  attributes?: AttributesOf<Type> | null,
  options?: (StartObservationOptions<Type> & Pick<ActiveObservationOptions, "client">) | null,
): Observation<Type> {
  const client = options?.client ?? activeLangfuse();
  return client.startObservation(name, attributes, options);
}

/**
 * Calls `callback` with a new observation, which is the current one through everything the callback awaits, and gives
 * what it gives. The observation ends when that is complete: a promise when it is settled, a generator or a stream when it
 * has been consumed, cancelled or has failed.
 *
 * What the callback gives is what the caller gets, with these differences: of a promise, another one; of a `ReadableStream`,
 * another one that reads from it when it is read itself; of a `Response` with a body, a copy with such a stream.
 *
 * An error of the callback, of its promise or of its stream gives the observation level ERROR with the error's message, and
 * is thrown on, unchanged. A consumer that stops early gives it level WARNING. Tracing itself never throws.
 */
export function startActiveObservation<Result, Type extends ObservationType = "span">(
  name: string,
  callback: (observation: Observation<Type>) => Result,
  options?: ActiveObservationOptions<Type>,
): Result {
  const { endOnExit, ...rest } = options ?? {};
  const observation = startObservation<Type>(name, undefined, rest as ActiveObservationOptions<Type>);
  return run(observation, () => callback(observation), { endOnExit, captureOutput: false });
}

/**
 * Wraps a function, so that each call is an observation, as with `startActiveObservation`, that has the arguments as its
 * input and the result as its output. The wrapped function takes and gives what the function does, and looks like it.
 * With `new` it is not observed.
 *
 * An error gives the observation level ERROR, the error's message, and as its output what there was before the error, else
 * `{ error }`. It is thrown on, unchanged. Tracing itself never throws.
 *
 * @typeParam Fn What the function takes and gives.
 */
export function observe<Fn extends (...args: any[]) => any>(fn: Fn, options?: ObserveOptions): Fn {
  const { name = fn.name || "anonymous-function", captureInput = true, captureOutput = true, endOnExit, ...rest } = options ?? {};
  return new Proxy(fn, {
    apply(_, self, args: unknown[]) {
      const input = args.length > 1 ? args : args[0];
      const observation = startObservation(name, captureInput && args.length > 0 ? { input } : undefined, rest);
      return run(observation, () => Reflect.apply(fn, self, args) as unknown, { endOnExit, captureOutput });
    },
  });
}

/**
 * Takes over what `attributes` says to the current observation, which stands for `options.asType` from now on, if that is given.
 * Without a current observation it warns and does nothing.
 *
 * @param options `asType`: what it stands for, by which TypeScript tells what it can say; `client`: whose current observation.
 *   Default: the one that was made current last.
 */
export function updateActiveObservation<Type extends ObservationType = "span">(
  attributes: AttributesOf<Type>,
  options?: { asType?: Type; client?: Langfuse },
): void {
  const observation = activeObservation(options?.client);
  if (observation) {
    observation.update(attributes, options?.asType);
  } else {
    warn("langfuse-edge: updateActiveObservation: there is no current observation");
  }
}

/**
 * Lets everybody who has the URL of the current trace see it, which cannot be taken back. Without a current observation it warns
 * and does nothing.
 *
 * @param options `client`: whose current observation. Default: the one that was made current last.
 */
export function setActiveTraceAsPublic(options?: { client?: Langfuse }): void {
  const observation = activeObservation(options?.client);
  if (observation) {
    observation.setTraceAsPublic();
  } else {
    warn("langfuse-edge: setActiveTraceAsPublic: there is no current observation");
  }
}

/** The id of the current observation's trace, 32 hex digits; undefined without one. */
export function getActiveTraceId(options?: { client?: Langfuse }): string | undefined {
  return activeObservation(options?.client)?.traceId;
}

/** The id of the current observation, 16 hex digits; undefined without one. */
export function getActiveSpanId(options?: { client?: Langfuse }): string | undefined {
  return activeObservation(options?.client)?.id;
}

interface RunOptions {
  endOnExit: boolean | undefined;
  captureOutput: boolean;
}

/** Runs `call` with the observation as the current one, and ends it when the result is complete. */
function run<Result>(observation: Observation, call: () => Result, options: RunOptions): Result {
  if (!observation.client.enabled) {
    return call();
  }
  const { captureOutput, endOnExit } = options;
  const within = enter(observation);
  const complete = (attributes: ObservationAttributes) => {
    observation.update(attributes);
    if (endOnExit !== false) {
      observation.end();
    }
  };
  const capture = (output: unknown) => (captureOutput && output !== undefined ? { output } : {});
  const failed = (error: unknown, output?: unknown) =>
    complete({
      level: "ERROR",
      statusMessage: messageOf(error) || "Function threw an error",
      ...capture(output ?? { error: nameOf(error) }),
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
    keepsParts: captureOutput,
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

/** As `String`, of any value. */
function nameOf(error: unknown): string {
  try {
    return String(error);
  } catch {
    return messageOf(error);
  }
}
