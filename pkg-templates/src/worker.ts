/** `withLangfuse`: a Worker whose invocations are traced, and whose traces are delivered. */

import { Langfuse } from "./client.js";
import type { FlushOptions } from "./core.js";
import { fetched, invoke, type Call, type Context, type Invocation } from "./invocation.js";
import { messageOf, setLangfuseIfUnset } from "./observability.js";
import type { Observation } from "./observation.js";
import { overflowTo, type OverflowQueue } from "./overflow.js";

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

type Describe = (event: never) => Invocation;

const EVENTS: Record<string, Describe> = {
  fetch: fetched,
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
 * begins when the handler has finished, whether or not a stream goes on. Of a streamed response the observation ends when the body has
 * been read or given up, and is flushed then; until then a promise of `ctx.waitUntil` is open, so that a client who leaves does not
 * end the invocation before it says so.
 */
export function withLangfuse<H extends object, Env = object>(handler: H, options: WithLangfuseOptions<Env> = {}): H {
  const clientOf = clients(options as WithLangfuseOptions);
  if (typeof handler === "function") {
    return tracedClass(handler as unknown as EntrypointClass, clientOf, options as WithLangfuseOptions) as unknown as H;
  }
  const wrapped = { ...handler } as Record<string, unknown>;
  for (const [name, describe] of Object.entries(EVENTS)) {
    const original: unknown = (handler as Record<string, unknown>)[name];
    if (typeof original !== "function") continue;
    wrapped[name] = (event: unknown, env: object, ctx: Context): unknown => {
      const call = (observation?: Observation, own = event) => (original as Handler).call(handler, own as never, env as never, ctx as never, observation as never);
      return traced(clientOf(env), env, ctx, options as WithLangfuseOptions, describe, event, call);
    };
  }
  return wrapped as H;
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
        return traced(clientOf(env), env, ctx, options, describe, event, call);
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

function traced(
  client: Langfuse,
  env: object,
  ctx: Context,
  options: WithLangfuseOptions,
  describe: Describe,
  event: unknown,
  call: Call,
): unknown {
  const queue = typeof options.overflow === "function" ? options.overflow(env) : options.overflow;
  return invoke(call, {
    client,
    ctx,
    isTraced: options.traceInvocations !== false,
    awaitsStreams: true,
    flush: { ...options.flush, ...(queue && { overflow: overflowTo(queue) }) },
    describe: () => describe(event as never),
    watch: (root) => (isBatch(event) ? watchBatch(event, root) : undefined),
  });
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
function watchBatch(batch: Batch, root: Observation): { event: Batch; end(hasFailed: boolean): void } {
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
  const event = intercepted(batch, { ackAll: () => endAll(false), retryAll: () => endAll(true) }, { messages });
  return { event, end: endAll };
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
