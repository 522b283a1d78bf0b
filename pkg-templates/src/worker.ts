/** `withLangfuse`: a Worker whose invocations are traced, and whose traces are delivered. */

import { Langfuse } from "./client.js";
import type { Observation } from "./client.js";
import { withinObservation } from "./context.js";
import type { FlushOptions, ObservationAttributes } from "./core.js";
import { messageOf, setLangfuseIfUnset } from "./observability.js";
import { overflowTo, type OverflowQueue } from "./overflow.js";
import { watched } from "./results.js";

/** The part of an execution context that is used. */
interface Context {
  waitUntil(promise: Promise<unknown>): void;
}

/** An event handler of a module Worker. */
type Handler = (event: never, env: never, ctx: never, ...more: never[]) => unknown;

/** How a Worker is traced. */
export interface WithLangfuseOptions<Env = object> {
  /** The client, or what makes it of the Worker's `env`. Default: `Langfuse.fromEnv(env)`, made at the first event. */
  client?: Langfuse | ((env: Env) => Langfuse);
  /** Whether each invocation is an observation, which what is observed within becomes part of. Default: true. */
  traceInvocations?: boolean;
  /** Deadline of the flush after an invocation. Default: 25 s, of the 30 s that Workers have after a response. */
  flush?: FlushOptions;
  /**
   * A Cloudflare Queue, or what finds it in the Worker's `env`: what a flush cannot deliver goes there, and a consumer with
   * `langfuseQueueConsumer()` delivers it later. Default: none; it stays in memory for the next flush.
   */
  overflow?: OverflowQueue | ((env: Env) => OverflowQueue | undefined);
}

/** What an event says, for the observation of its invocation. */
interface Invocation {
  name: string;
  metadata?: Record<string, unknown>;
  /** The `traceparent` header of who calls. */
  parent?: string | undefined;
}

type Describe = (event: never) => Invocation;

const EVENTS: Record<string, Describe> = {
  fetch: (request: Request) => {
    const { origin, pathname } = new URL(request.url);
    return {
      name: `${request.method} ${pathname}`,
      metadata: { "http.request.method": request.method, "url.full": origin + pathname },
      parent: request.headers.get("traceparent") ?? undefined,
    };
  },
  scheduled: ({ cron, scheduledTime }: { cron: string; scheduledTime: number }) => ({
    name: `scheduled ${cron}`,
    metadata: { cron, scheduledTime: new Date(scheduledTime) },
  }),
  queue: ({ queue, messages }: Batch) => ({
    name: `queue ${queue}`,
    metadata: { queue, batchSize: messages.length },
  }),
  email: ({ rawSize }: { rawSize: number }) => ({ name: "email", metadata: { rawSize } }),
  tail: (events: readonly unknown[]) => ({ name: "tail", metadata: { events: events.length } }),
  alarm: () => ({ name: "alarm" }),
  webSocketMessage: () => ({ name: "webSocketMessage" }),
  webSocketClose: () => ({ name: "webSocketClose" }),
  webSocketError: () => ({ name: "webSocketError" }),
};

/**
 * Traces a Worker and delivers what it records: with this, nothing else has to flush.
 *
 * Takes the Worker's default export, or a class that extends `WorkerEntrypoint` or `DurableObject`, and gives the same, whose
 * event handlers are wrapped. Each invocation is an observation; what is observed within becomes part of its trace (on Workers with
 * the flag `nodejs_compat`, which brings `AsyncLocalStorage`; else by the observation that a handler gets as its last argument).
 * An incoming `traceparent` is continued. An error gives it level ERROR and is thrown on, unchanged.
 *
 * The flush is registered with `ctx.waitUntil` before the handler runs, so that a request that is cancelled delivers as well; it
 * begins when the handler has finished. Of a streamed response the observation ends when the body has been read or given up, and is
 * flushed then; nothing waits for the stream.
 */
export function withLangfuse<H extends object, Env = object>(handler: H, options: WithLangfuseOptions<Env> = {}): H {
  const clientOf = clients(options as WithLangfuseOptions);
  if (typeof handler === "function") {
    return tracedClass(handler as unknown as EntrypointClass, clientOf, options as WithLangfuseOptions) as unknown as H;
  }
  const traced = { ...handler } as Record<string, unknown>;
  for (const [name, describe] of Object.entries(EVENTS)) {
    const original: unknown = (handler as Record<string, unknown>)[name];
    if (typeof original !== "function") continue;
    traced[name] = (event: unknown, env: object, ctx: Context): unknown => {
      const call = (observation?: Observation, own = event) => (original as Handler).call(handler, own as never, env as never, ctx as never, observation as never);
      return invoke(clientOf(env), env, ctx, options as WithLangfuseOptions, describe, event, call);
    };
  }
  return traced as H;
}

type EntrypointClass = new (ctx: Context, env: object) => object;
interface Entrypoint {
  ctx: Context;
  env: object;
}

/** A subclass, whose methods are wrapped: those for events, and those that others call by RPC. */
function tracedClass(Original: EntrypointClass, clientOf: (env: object) => Langfuse, options: WithLangfuseOptions): EntrypointClass {
  const Traced = class extends Original {};
  Object.defineProperty(Traced, "name", { value: Original.name });
  const names = new Set<string>();
  for (let proto: object = Original.prototype as object; isOwn(proto); proto = Object.getPrototypeOf(proto) as object) {
    Object.getOwnPropertyNames(proto).forEach((name) => names.add(name));
  }
  names.delete("constructor");
  for (const name of names) {
    const original: unknown = (Original.prototype as Record<string, unknown>)[name];
    if (typeof original !== "function") continue;
    const describe = EVENTS[name] ?? (() => ({ name: `rpc ${name}` }));
    Object.defineProperty(Traced.prototype, name, {
      configurable: true,
      writable: true,
      value(this: Entrypoint, event: unknown, ...more: unknown[]): unknown {
        // These are protected from everybody else, not from a subclass.
        const { env, ctx } = this;
        const args = arguments.length > 0 ? [event, ...more] : [];
        const call = (_: unknown, own = event) => Reflect.apply(original, this, args.length > 0 ? [own, ...more] : []) as unknown;
        return invoke(clientOf(env), env, ctx, options, describe, event, call);
      },
    });
  }
  return Traced;
}

/** Whether a prototype is the user's, and neither the runtime's nor JavaScript's. */
function isOwn(prototype: object): boolean {
  const { name } = prototype.constructor;
  return prototype !== Object.prototype && name !== "WorkerEntrypoint" && name !== "DurableObject";
}

/** One client an `env`, or one for all when the options say so. */
function clients({ client }: WithLangfuseOptions): (env: object) => Langfuse {
  const made = new WeakMap<object, Langfuse>();
  return (env) => {
    if (client instanceof Langfuse) return client;
    let own = made.get(env);
    if (!own) {
      own = client ? client(env) : fromEnv(env);
      made.set(env, own);
      setLangfuseIfUnset(own);
    }
    return own;
  };
}

/** Tracing does not keep a Worker from working. */
function fromEnv(env: object): Langfuse {
  try {
    return Langfuse.fromEnv(env);
  } catch (error) {
    console.warn(`${messageOf(error)}: tracing is disabled`);
    return new Langfuse({ enabled: false });
  }
}

type Call = (observation?: Observation, event?: unknown) => unknown;

function invoke(
  client: Langfuse,
  env: object,
  ctx: Context,
  options: WithLangfuseOptions,
  describe: Describe,
  event: unknown,
  call: Call,
): unknown {
  if (!client.enabled) {
    return call();
  }
  const queue = typeof options.overflow === "function" ? options.overflow(env) : options.overflow;
  const flush = () => client.flush({ ...options.flush, ...(queue && { overflow: overflowTo(queue) }) });
  let finish = (): void => {};
  let endRoot = (): void => {};
  let abandon = (): unknown => undefined;
  const isHandled = new Promise<void>((resolve) => (finish = resolve));
  const hasEnded = new Promise<void>((resolve) => (endRoot = resolve));
  let isFlushing = false;
  // Registered before anything can go wrong, with promises of this request's own.
  ctx.waitUntil(
    isHandled
      .then(() => soon(hasEnded))
      .then(() => {
        abandon();
        isFlushing = true;
        return flush();
      }),
  );
  if (options.traceInvocations === false) {
    endRoot();
    return finishing(() => call(), finish);
  }
  const { name, metadata, parent } = described(describe, event);
  const root = client.startObservation(name, metadata && { metadata }, parent ? { parentSpanContext: parent } : {});
  const batch = isBatch(event) ? watchBatch(event, root) : undefined;
  let parts = 0;
  const within = <R>(run: () => R): R => {
    parts++;
    return withinObservation(root, run);
  };
  // A body of which nothing has been read by now has nobody to read it: its request was cancelled, or asked for the head only.
  abandon = () => parts <= 1 && end({}, false);
  const end = (attributes: ObservationAttributes, hasFailed: boolean) => {
    batch?.end(hasFailed);
    root.update(attributes).end();
    endRoot();
    if (isFlushing) {
      // A stream that was over after the response.
      ctx.waitUntil(flush());
    }
  };
  return finishing(() => {
    try {
      return watched(
        within(() => call(root, batch?.watched ?? event)),
        {
          within,
          // The answer is what the handler's own observations say.
          keepsParts: false,
          complete({ output, error, hasFailed, isPartial }) {
            end(hasFailed ? failure(error) : outcome(output, isPartial), hasFailed);
          },
        },
      );
    } catch (error) {
      end(failure(error), true);
      throw error;
    }
  }, finish);
}

/** What cannot be read of an event is not worth an error. */
function described(describe: Describe, event: unknown): Invocation {
  try {
    return describe(event as never);
  } catch {
    return { name: "invocation" };
  }
}

/** How long a flush waits for the end of a response's body, which is there at once unless it is a stream. */
const BODY_MS = 100;

/** Is fulfilled with the promise, or after a while. */
function soon(promise: Promise<void>): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, BODY_MS);
    void promise.then(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/** Calls `finish` when `run` has, whatever its end is. */
function finishing(run: () => unknown, finish: () => void): unknown {
  let result;
  try {
    result = run();
  } catch (error) {
    finish();
    throw error;
  }
  if (result instanceof Promise) {
    return result.finally(finish);
  }
  finish();
  return result;
}

const failure = (error: unknown): ObservationAttributes => ({ level: "ERROR", statusMessage: messageOf(error) });

/** What a response says; of other results nothing, which are the user's own affair. */
function outcome(output: unknown, isPartial: boolean): ObservationAttributes {
  const status = (output as { status?: unknown } | undefined)?.status;
  return {
    ...(typeof status === "number" && { metadata: { "http.response.status_code": status } }),
    ...(typeof status === "number" && status >= 500 && { level: "ERROR", statusMessage: `HTTP ${status}` }),
    ...(isPartial && { level: "WARNING", statusMessage: "the client left before the end of the response" }),
  };
}

// Queues

interface Message {
  readonly id: string;
  readonly attempts: number;
  readonly body: unknown;
  ack(): void;
  retry(options?: unknown): void;
}
interface Batch {
  readonly queue: string;
  readonly messages: readonly Message[];
  ackAll(): void;
  retryAll(options?: unknown): void;
}

function isBatch(event: unknown): event is Batch {
  return typeof event === "object" && event !== null && "retryAll" in event && "messages" in event;
}

/** Each message becomes an observation, which ends when it is acknowledged or put off, else with the batch. */
function watchBatch(batch: Batch, root: Observation): { watched: Batch; end(hasFailed: boolean): void } {
  const open = new Map<string, Observation>();
  const end = (id: string, isRetry: boolean) => {
    const observation = open.get(id);
    open.delete(id);
    observation?.update(isRetry ? { level: "WARNING", statusMessage: "to be delivered again" } : {}).end();
  };
  const endAll = (isRetry: boolean) => [...open.keys()].forEach((id) => end(id, isRetry));
  const messages = batch.messages.map((message) => {
    const { id, attempts, body } = message;
    open.set(id, root.startObservation("message", { input: body, metadata: { id, attempts } }));
    return intercepted(message, { ack: () => end(id, false), retry: () => end(id, true) });
  });
  const watched = intercepted(batch, { ackAll: () => endAll(false), retryAll: () => endAll(true) }, { messages });
  return { watched, end: endAll };
}

/** The object, of which calls of these methods are noticed. */
function intercepted<T extends object>(object: T, noticed: Record<string, () => void>, replaced: Record<string, unknown> = {}): T {
  return new Proxy(object, {
    get(target, name) {
      if (typeof name === "string" && Object.hasOwn(replaced, name)) return replaced[name];
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      const notice = typeof name === "string" ? noticed[name] : undefined;
      return (...args: unknown[]) => {
        notice?.();
        return Reflect.apply(value, target, args) as unknown;
      };
    },
  });
}
