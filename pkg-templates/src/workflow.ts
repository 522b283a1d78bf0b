/** Workflows that flush: `runWorkflowWithFlush` at the end, `step` and `workflowSteps` after each step. */

import type { ObservationType } from "./core.js";
import type { Langfuse } from "./client.js";
import { activeObservation, withinObservation } from "./context.js";
import { activeLangfuse, failure, flushLangfuse } from "./observability.js";
import type { Observation } from "./observation.js";
import { observe, type ObserveOptions } from "./observe.js";

/** A function, or an object with a method `run`. */
export type Workflow<Arguments extends unknown[], Result> =
  | ((...args: Arguments) => Result | PromiseLike<Result>)
  | {
      /** Does the work. */
      run(...args: Arguments): Result | PromiseLike<Result>;
    };

/**
 * Runs a workflow and then flushes, also when it fails; gives what the workflow gave, or fails as it did, whatever becomes of the
 * flush. A workflow of LlamaIndex's is to be given as `traceWorkflow` makes it.
 *
 * @throws Error when it is no workflow.
 */
export async function runWorkflowWithFlush<Arguments extends unknown[], Result>(
  workflow: Workflow<Arguments, Result>,
  ...args: Arguments
): Promise<Awaited<Result>> {
  if (typeof workflow !== "function" && typeof workflow?.run !== "function") {
    const isLlamaIndex = typeof (workflow as { createContext?: unknown } | undefined)?.createContext === "function";
    throw new Error(
      `langfuse-edge: runWorkflowWithFlush: workflow must be a function or an object with a method run${
        isLlamaIndex ? ": make one of it with traceWorkflow(workflow, { startEvent, stopEvent })" : ""
      }`,
    );
  }
  try {
    return await (typeof workflow === "function" ? workflow(...args) : workflow.run(...args));
  } finally {
    await flushLangfuse();
  }
}

/** How steps flush. */
export interface StepFlushOptions {
  /** Flushes when a step has ended, so that a trace can be watched step by step. Default: true. */
  flush?: boolean;
  /** Milliseconds that a step waits for its flush, which then goes on in the background. 0: it never waits. Default: 1,000. */
  waitMs?: number;
}

/** How a step is recorded. */
export interface StepOptions extends StepFlushOptions {
  /** What it stands for. Default: span. */
  asType?: ObservationType;
  /** What went in. */
  input?: unknown;
  /** The observation above it. Default: the step around it, on hosts with `AsyncLocalStorage`. */
  parent?: Observation;
}

const STEP_WAIT_MS = 1000;
/** Of a flush that nobody waits for any more. One that is under way when a program is done delays its end for as long. */
const STEP_FLUSH_MS = 10_000;

/**
 * Runs `run` as an observation of the client that is current, else of the process-wide one, and flushes when it has ended, so
 * that a trace can be watched step by step. The result becomes its output, unless it is undefined. An error gives it level ERROR and
 * is thrown on, unchanged. Steps inside it become its children. Steps of one parent that end together share a flush.
 */
export async function step<Result>(
  name: string,
  run: (observation: Observation) => Result | PromiseLike<Result>,
  options: StepOptions = {},
): Promise<Awaited<Result>> {
  const langfuse = options.parent?.client ?? activeLangfuse();
  const parent = options.parent ?? activeObservation(langfuse);
  const attributes = options.input === undefined ? {} : { input: options.input };
  const observation = (parent ?? langfuse).startObservation(name, attributes, { asType: options.asType ?? "span" });
  try {
    const result = await withinObservation(observation, () => run(observation));
    if (result !== undefined) {
      observation.update({ output: result });
    }
    return result;
  } catch (error) {
    observation.update(failure(error));
    throw error;
  } finally {
    observation.end();
    await flushStep(langfuse, parent, options);
  }
}

/** How the methods of an object are recorded. */
export interface WorkflowStepsOptions<Methods> extends StepFlushOptions, Pick<ObserveOptions, "captureInput" | "captureOutput"> {
  /** Which methods are steps. Default: all but those whose names begin with `_`. */
  only?: readonly Methods[];
  /** What the steps stand for. Default: span. */
  asType?: ObservationType;
}

type MethodsOf<T> = { [Name in keyof T]: T[Name] extends (...args: never[]) => unknown ? Name : never }[keyof T] & string;

/**
 * Makes the methods of an object steps, also where they call each other: each call is an observation with the method's name, its
 * arguments and its result, and is flushed when it has ended. The methods are replaced on the object itself, which is given back.
 * They take and give what they did: one that gives a promise waits for its flush, as `step` does, others do not.
 *
 * ```ts
 * import { runWorkflowWithFlush, workflowSteps } from "langfuse-edge";
 *
 * class Greeting {
 *   async run(name: string) {
 *     return `${await this.hello()}, ${name}!`;
 *   }
 *   async hello() {
 *     return "Hello";
 *   }
 * }
 * await runWorkflowWithFlush(workflowSteps(new Greeting()), "Ada");
 * ```
 *
 * @throws Error when a method of `only` is none, or cannot be replaced.
 */
export function workflowSteps<T extends object>(object: T, options: WorkflowStepsOptions<MethodsOf<T>> = {}): T {
  const { only, flush, waitMs, ...observed } = options;
  for (const name of only ?? methodsOf(object)) {
    const method: unknown = Reflect.get(object, name);
    if (typeof method !== "function") {
      throw new Error(`langfuse-edge: workflowSteps: only must name methods of the object, and ${name} is none`);
    }
    const observedMethod = observe(method as (...args: unknown[]) => unknown, { ...observed, name });
    const value = function (this: unknown, ...args: unknown[]): unknown {
      const client = activeLangfuse();
      const parent = activeObservation(client);
      const flushed = () => flushStep(client, parent, { ...(flush !== undefined && { flush }), ...(waitMs !== undefined && { waitMs }) });
      let result;
      try {
        result = Reflect.apply(observedMethod, this, args);
      } catch (error) {
        void flushed();
        throw error;
      }
      if (result instanceof Promise) return result.finally(flushed);
      void flushed();
      return result;
    };
    if (!Reflect.defineProperty(object, name, { value, configurable: true, writable: true })) {
      throw new Error(`langfuse-edge: workflowSteps: ${name} cannot be replaced: the object must not be frozen`);
    }
  }
  return object;
}

/** Of the object and its classes. */
function methodsOf(object: object): string[] {
  const names = new Set<string>();
  for (let one: object | null = object; one && one !== Object.prototype; one = Object.getPrototypeOf(one) as object | null) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(one))) {
      if (typeof value === "function" && name !== "constructor" && !name.startsWith("_")) names.add(name);
    }
  }
  return [...names];
}

/** Flushes that are about to begin, by the observation whose steps they are for: a promise belongs to one request, as that does. */
const beginning = new WeakMap<Observation, Promise<unknown>>();

/** Waits for a flush of what a step has recorded, but no longer than the step may. */
export async function flushStep(client: Langfuse, parent: Observation | undefined, { flush, waitMs }: StepFlushOptions): Promise<void> {
  if (flush === false || !client.enabled) return;
  const flushed = (parent && beginning.get(parent)) ?? begin(client, parent);
  const wait = waitMs ?? STEP_WAIT_MS;
  if (wait <= 0) return;
  // A timer of this step's own, whoever began the flush.
  let timer: ReturnType<typeof setTimeout> | undefined;
  await Promise.race([flushed, new Promise((resolve) => (timer = setTimeout(resolve, wait)))]);
  clearTimeout(timer);
}

function begin(client: Langfuse, parent: Observation | undefined): Promise<unknown> {
  const flush = () => client.flush({ timeoutMs: STEP_FLUSH_MS });
  if (!parent) return flush();
  // What ends in the same turn travels along.
  const flushed = new Promise((resolve) => setTimeout(resolve, 0)).then(() => {
    beginning.delete(parent);
    return flush();
  });
  beginning.set(parent, flushed);
  return flushed;
}
