/** Workflows of LlamaIndex's (`@llamaindex/workflow-core`), by the shapes of their objects: nothing of it is imported. */

import { read } from "./attributes.js";
import type { Langfuse } from "./client.js";
import { activeObservation, withinObservation } from "./context.js";
import { fieldsOf } from "./llm-shapes.js";
import { activeLangfuse, failure } from "./observability.js";
import type { Observation } from "./observation.js";
import { flushStep, type StepFlushOptions } from "./workflow.js";

/** A type of events: what makes them, and knows its own. */
export interface WorkflowEventType<Data = any> {
  /** An event of this type. */
  with(data: Data): { readonly data: Data };
  /** Whether an event is of this type. */
  include(event: unknown): boolean;
}

/** The part of a workflow that is used. */
export interface LlamaIndexWorkflow {
  /** A run of the workflow. */
  createContext(...args: any[]): any;
}

/** How a workflow of LlamaIndex's is recorded. */
export interface TraceWorkflowOptions<Start, Stop> extends StepFlushOptions {
  /** What the whole is called. Default: `workflow`. */
  name?: string;
  /** With which events `run` begins. */
  startEvent?: WorkflowEventType<Start>;
  /** With which events it ends. Default: the whole ends when no step is running. */
  stopEvent?: WorkflowEventType<Stop>;
  /** What a step is called. Default: the labels of the events that it handles (`debugLabel`), else `step`. */
  stepName?(events: readonly WorkflowEventType[]): string | undefined;
  /** Takes the data of events for input and output. Default: true. */
  captureEvents?: boolean;
  /** Who records it. Default: the client that is current when a context is made, else the process-wide one. */
  client?: Langfuse;
}

/** What `traceWorkflow` adds to a workflow. */
export interface RunsWorkflow<Start, Stop> {
  /** Sends a start event and gives the data of the stop event. Fails as the first step that fails does. */
  run(...data: Start extends void ? [data?: Start] : [data: Start]): Promise<Stop>;
}

/**
 * A workflow of LlamaIndex's whose runs are recorded: an observation for the whole, and one below it for each step, with the data
 * of the events that went in and came out. A step that begins while the one that sent its event is running comes below that. Steps
 * are flushed when they have ended, in the background.
 *
 * With `startEvent` and `stopEvent` it has a method `run`, for `runWorkflowWithFlush` among others. LlamaIndex's own streams
 * never end when a step fails; `run` then fails as the step did.
 *
 * ```ts
 * import { createWorkflow, workflowEvent } from "@llamaindex/workflow-core";
 * import { runWorkflowWithFlush, traceWorkflow } from "langfuse-edge";
 *
 * const start = workflowEvent<string>({ debugLabel: "hello" });
 * const stop = workflowEvent<string>({ debugLabel: "stop" });
 * const workflow = createWorkflow();
 * workflow.handle([start], async (_, { data }) => stop.with(`Hello, ${data}!`));
 *
 * const hello = traceWorkflow(workflow, { name: "hello", startEvent: start, stopEvent: stop });
 * console.log(await runWorkflowWithFlush(hello, "Ada"));
 * ```
 *
 * @throws Error when it has no `createContext`.
 */
export function traceWorkflow<W extends LlamaIndexWorkflow, Start = unknown, Stop = unknown>(
  workflow: W,
  options: TraceWorkflowOptions<Start, Stop> = {},
): W & RunsWorkflow<Start, Stop> {
  if (typeof workflow?.createContext !== "function") {
    throw new Error("langfuse-edge: traceWorkflow: workflow must be an object with a method createContext, as createWorkflow() makes it");
  }
  const createContext = (...args: unknown[]) => {
    const context = workflow.createContext(...args) as WorkflowContext;
    void new Run(context, options, false).attached();
    return context;
  };
  const run = async (data?: unknown) => {
    const { startEvent, stopEvent } = options;
    if (typeof startEvent?.with !== "function" || typeof stopEvent?.include !== "function") {
      throw new Error("langfuse-edge: traceWorkflow: run needs the options startEvent and stopEvent, types of events as workflowEvent() makes them");
    }
    const context = workflow.createContext() as WorkflowContext;
    const outcome = new Run(context, options, true).attached();
    const stopped = new Promise((resolve, reject) => outcome.then(({ error, output }) => (error ? reject(error.thrown as Error) : resolve(output))));
    context.sendEvent(startEvent.with(data as Start));
    return stopped;
  };
  const own: Record<PropertyKey, unknown> = { createContext, run };
  const hasRun = typeof read(workflow, "run") === "function";
  return new Proxy(workflow, {
    get: (_, name) => {
      const isOwn = Object.hasOwn(own, name) && !(hasRun && name === "run");
      return isOwn ? own[name] : (Reflect.get(workflow, name, workflow) as unknown);
    },
    has: (_, name) => Object.hasOwn(own, name) || Reflect.has(workflow, name),
  }) as W & RunsWorkflow<Start, Stop>;
}

interface Subscribable<Arguments extends unknown[]> {
  subscribe(callback: (...args: Arguments) => void): unknown;
}

interface HandlerContext {
  handler: (...args: unknown[]) => unknown;
  readonly inputEvents: readonly WorkflowEventType[];
  readonly inputs: readonly unknown[];
  readonly prev?: object | null;
  pending?: PromiseLike<unknown> | null;
}

interface WorkflowContext {
  sendEvent(...events: unknown[]): void;
  readonly __internal__call_context: Subscribable<[HandlerContext, (context: HandlerContext) => void]>;
  readonly __internal__call_send_event: Subscribable<[unknown]>;
}

interface Outcome {
  output?: unknown;
  error?: { thrown: unknown };
}

/** One context of a workflow: an observation for the whole, begun by the first event. */
class Run {
  readonly #client: Langfuse;
  readonly #around: Observation | undefined;
  #root: Observation | undefined;
  /** The observations of steps by LlamaIndex's contexts, through which they know who sent their events. */
  readonly #steps = new WeakMap<object, Observation>();
  #running = 0;
  #isOver = false;
  #settle: (outcome: Outcome) => void = () => {};

  constructor(
    readonly context: WorkflowContext,
    readonly options: TraceWorkflowOptions<any, any>,
    /** Whether somebody gets the error of a step that fails. */
    readonly hasCaller: boolean,
  ) {
    this.#client = options.client ?? activeLangfuse();
    this.#around = activeObservation(this.#client);
  }

  /** Watches the context; is fulfilled with what becomes of the first run. */
  attached(): Promise<Outcome> {
    const { context } = this;
    const outcome = new Promise<Outcome>((resolve) => (this.#settle = resolve));
    context.__internal__call_send_event.subscribe((event) => this.#sent(event));
    context.__internal__call_context.subscribe((step, next) => this.#step(step, next));
    return outcome;
  }

  get #whole(): Observation {
    return (this.#root ??= (this.#around ?? this.#client).startObservation(this.options.name ?? "workflow"));
  }

  #sent(event: unknown): void {
    if (!this.#root) this.#whole.update(this.#captured("input", dataOf(event)));
    if (includes(this.options.stopEvent, event)) this.#end({ output: dataOf(event) });
  }

  #step(step: HandlerContext, next: (context: HandlerContext) => void): void {
    const { handler } = step;
    const sender = step.prev ? this.#steps.get(step.prev) : undefined;
    const above = sender?.isOpen ? sender : this.#whole;
    const observation = above.startObservation(this.#nameOf(step), this.#captured("input", dataOfAll(step.inputs)));
    this.#steps.set(step, observation);
    this.#running++;
    const ended = (attributes: object) => {
      observation.update(attributes).end();
      this.#running--;
      void flushStep(this.#client, above, { ...this.options, waitMs: 0 });
      // What the step gives begins the next one, two turns of the microtask queue from here.
      if (!this.options.stopEvent) queueMicrotask(() => queueMicrotask(() => this.#running === 0 && this.#end({})));
    };
    const failed = (thrown: unknown): never => {
      ended(failure(thrown));
      this.#end({ error: { thrown } });
      throw thrown;
    };
    const gave = <Result>(result: Result): Result => {
      ended(this.#captured("output", dataOf(result)));
      return result;
    };
    // On the object itself: a copy would run its getters.
    step.handler = (...args) => {
      let result;
      try {
        result = withinObservation(observation, () => handler(...args));
      } catch (error) {
        return failed(error);
      }
      return isThenable(result) ? result.then(gave, failed) : gave(result);
    };
    next(step);
    if (this.hasCaller) step.pending?.then(undefined, () => {});
  }

  #end(outcome: Outcome): void {
    this.#settle(outcome);
    if (this.#isOver) return;
    this.#isOver = true;
    const { error, output } = outcome;
    this.#whole.update(error ? failure(error.thrown) : this.#captured("output", output)).end();
  }

  #captured(name: "input" | "output", data: unknown): object {
    return this.options.captureEvents === false || data === undefined ? {} : { [name]: data };
  }

  #nameOf({ inputEvents, inputs }: HandlerContext): string {
    const { stepName } = this.options;
    // Of `or(a, b)` the one that came.
    const types = inputEvents.map((type, index) => {
      const alternatives = read(type, "events");
      return (Array.isArray(alternatives) && (alternatives as WorkflowEventType[]).find((one) => includes(one, inputs[index]))) || type;
    });
    // A label that nobody has given is a number.
    const labels = types.map((type) => read(type, "debugLabel")).filter((label) => typeof label === "string" && !/^\d+$/.test(label));
    return stepName?.(types) || labels.join(" + ") || "step";
  }
}

const isThenable = (value: unknown): value is PromiseLike<unknown> => typeof read(fieldsOf(value), "then") === "function";

const dataOf = (event: unknown) => read(fieldsOf(event), "data");

function dataOfAll(events: readonly unknown[]): unknown {
  return events.length === 1 ? dataOf(events[0]) : events.map(dataOf);
}

function includes(type: WorkflowEventType | undefined, event: unknown): boolean {
  return typeof type?.include === "function" && type.include(event);
}
