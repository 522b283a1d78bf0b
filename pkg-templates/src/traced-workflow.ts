/** Workflows of LlamaIndex's (`@llamaindex/workflow-core`), by the shapes of their objects: nothing of it is imported. */

import { read } from "./attributes.js";
import type { Langfuse } from "./client.js";
import { activeObservation, withinObservation } from "./context.js";
import type { ObservationType } from "./core.js";
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

/** The part of an agent that is used. */
export interface LlamaIndexAgent extends LlamaIndexWorkflow {
  /** Asks the agent, and gives its answer. */
  run(...args: any[]): unknown;
}

/** How a workflow of LlamaIndex's is recorded. */
export interface TraceWorkflowOptions<Start, Stop> extends StepFlushOptions {
  /** What the whole is called. Default: the name of the agent, else `workflow`. */
  name?: string;
  /** With which events `run` begins. */
  startEvent?: WorkflowEventType<Start>;
  /** With which events it ends. Default: an agent ends with its answer, others when no step is running. */
  stopEvent?: WorkflowEventType<Stop>;
  /** What a step is called. Default: the labels of the events that it handles (`debugLabel`), of an agent the method; else `step`. */
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
 * An agent of LlamaIndex's, as `agent()` and `multiAgent()` of `@llamaindex/workflow` make them, each run of which is an observation of
 * type agent, with its steps below it. Its own `run` and `runStream` stay, but for one thing: `run` fails as a step does, instead of
 * never ending.
 *
 * @throws Error when it has no `createContext`.
 */
export function traceWorkflow<W extends LlamaIndexAgent>(workflow: W, options?: TraceWorkflowOptions<any, any>): W;
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
  options?: TraceWorkflowOptions<Start, Stop>,
): W & RunsWorkflow<Start, Stop>;
export function traceWorkflow<W extends LlamaIndexWorkflow>(workflow: W, options: TraceWorkflowOptions<any, any> = {}): W {
  if (typeof workflow?.createContext !== "function") {
    throw new Error("langfuse-edge: traceWorkflow: workflow must be an object with a method createContext, as createWorkflow() makes it");
  }
  const { inner, kind } = kindOf(workflow);
  const watch = (context: WorkflowContext, hasCaller: boolean) => new Run(context, { ...kind, ...options }, hasCaller);
  const createContext = (of: LlamaIndexWorkflow) => (...args: unknown[]) => {
    const context = of.createContext(...args) as WorkflowContext;
    watch(context, false);
    return context;
  };
  const run = async (data?: unknown) => {
    const { startEvent, stopEvent } = options;
    if (typeof startEvent?.with !== "function" || typeof stopEvent?.include !== "function") {
      throw new Error("langfuse-edge: traceWorkflow: run needs the options startEvent and stopEvent, types of events as workflowEvent() makes them");
    }
    const context = workflow.createContext() as WorkflowContext;
    const { outcome } = watch(context, true);
    context.sendEvent(startEvent.with(data));
    const { error, output } = await outcome;
    if (error) throw error.thrown;
    return output;
  };
  const own = { createContext: createContext(workflow) };
  if (!inner) return withOwn(workflow, typeof read(workflow, "run") === "function" ? own : { ...own, run });

  const runAgent = async (...args: unknown[]) => {
    let watched: Run | undefined;
    const once = (...args: unknown[]) => {
      const context = inner.createContext(...args) as WorkflowContext;
      watched = watch(context, true);
      return context;
    };
    const self = withOwn(workflow, { workflow: withOwn(inner, { createContext: once }) });
    const result = Promise.resolve(Reflect.apply(read(workflow, "run") as Function, self, args) as unknown);
    // However else it may end.
    result.then(() => watched?.end({}), (thrown: unknown) => watched?.end({ error: { thrown } }));
    // Its stream does not end when a step fails.
    const failed = watched?.outcome.then(({ error }) => (error ? Promise.reject(error.thrown as Error) : result));
    return failed ? Promise.race([result, failed]) : result;
  };
  return withOwn(workflow, { ...own, run: runAgent, workflow: withOwn(inner, { createContext: createContext(inner) }) });
}

/** The object, but for these members. */
function withOwn<T extends object>(object: T, own: Record<PropertyKey, unknown>): T {
  return new Proxy(object, {
    get: (_, name) => (Object.hasOwn(own, name) ? own[name] : (Reflect.get(object, name, object) as unknown)),
    has: (_, name) => Object.hasOwn(own, name) || Reflect.has(object, name),
  });
}

/** How the whole is recorded, beyond what the user says. */
type Kind = Pick<TraceWorkflowOptions<any, any>, "name" | "stopEvent" | "stepName"> & { asType?: ObservationType; handlers?: object };

/** An agent has the workflow that its `run` runs in a field. */
function kindOf(workflow: object): { inner?: LlamaIndexWorkflow; kind: Kind } {
  const inner = read(workflow, "workflow") as LlamaIndexWorkflow | undefined;
  const isAgent = ["run", "getAgents"].every((name) => typeof read(workflow, name) === "function");
  if (!isAgent || typeof read(inner, "createContext") !== "function") return { kind: {} };
  const name = read(workflow, "rootAgentName");
  const stopEvent = { with: (data: unknown) => ({ data }), include: (event: unknown) => isAnswer(dataOf(event)) };
  return { inner: inner!, kind: { ...(typeof name === "string" && { name }), stopEvent, asType: "agent", handlers: workflow } };
}

/** The data of the event with which an agent stops, beside which it has all that the agent remembers. */
const isAnswer = (data: unknown) => ["message", "result", "state"].every((name) => read(fieldsOf(data), name) !== undefined);

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
  /** What becomes of the first run. */
  readonly outcome = new Promise<Outcome>((resolve) => (this.#settle = resolve));

  constructor(
    context: WorkflowContext,
    readonly options: TraceWorkflowOptions<any, any> & Kind,
    /** Whether somebody gets the error of a step that fails. */
    readonly hasCaller: boolean,
  ) {
    this.#client = options.client ?? activeLangfuse();
    this.#around = activeObservation(this.#client);
    context.__internal__call_send_event.subscribe((event) => this.#sent(event));
    context.__internal__call_context.subscribe((step, next) => this.#step(step, next));
  }

  get #whole(): Observation {
    const { name, asType } = this.options;
    return (this.#root ??= (this.#around ?? this.#client).startObservation(name ?? "workflow", {}, { asType: asType ?? "span" }));
  }

  #sent(event: unknown): void {
    if (!this.#root) this.#whole.update(this.#captured("input", dataOf(event)));
    if (includes(this.options.stopEvent, event)) this.end({ output: this.#givenBy(event) });
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
      if (!this.options.stopEvent) queueMicrotask(() => queueMicrotask(() => this.#running === 0 && this.end({})));
    };
    const failed = (thrown: unknown): never => {
      ended(failure(thrown));
      this.end({ error: { thrown } });
      throw thrown;
    };
    const gave = <Result>(result: Result): Result => {
      ended(this.#captured("output", this.#givenBy(result)));
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

  /** The whole is over; what it is after that changes nothing. */
  end(outcome: Outcome): void {
    this.#settle(outcome);
    if (this.#isOver) return;
    this.#isOver = true;
    const { error, output } = outcome;
    this.#whole.update(error ? failure(error.thrown) : this.#captured("output", output)).end();
  }

  /** Of an agent's answer, what it says. */
  #givenBy(event: unknown): unknown {
    const data = dataOf(event);
    return this.options.handlers && isAnswer(data) ? (read(fieldsOf(data), "object") ?? read(fieldsOf(data), "result")) : data;
  }

  #captured(name: "input" | "output", data: unknown): object {
    return this.options.captureEvents === false || data === undefined ? {} : { [name]: data };
  }

  #nameOf({ handler, inputEvents, inputs }: HandlerContext): string {
    const { stepName, handlers } = this.options;
    // Of `or(a, b)` the one that came.
    const types = inputEvents.map((type, index) => {
      const alternatives = read(type, "events");
      return (Array.isArray(alternatives) && (alternatives as WorkflowEventType[]).find((one) => includes(one, inputs[index]))) || type;
    });
    // A label that nobody has given is a number.
    const labels = types.map((type) => read(type, "debugLabel")).filter((label) => typeof label === "string" && !/^\d+$/.test(label));
    const method = Object.keys(handlers ?? {}).find((name) => read(handlers, name) === handler);
    return stepName?.(types) || method || labels.join(" + ") || "step";
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
