/** One invocation of a serverless function: an observation around it, and a flush behind it. */

import type { Langfuse } from "./client.js";
import { current, entering } from "./context.js";
import type { FlushOptions, ObservationAttributes } from "./core.js";
import { failure } from "./observability.js";
import type { Observation } from "./observation.js";
import { watched } from "./results.js";

/** The part of an execution context that is used. */
export interface Context {
  waitUntil(promise: Promise<unknown>): void;
}

/** What an event says, for the observation of its invocation. */
export interface Invocation {
  name: string;
  metadata?: Record<string, unknown>;
  /** The `traceparent` header of who calls. */
  parent?: string | undefined;
}

/** The user's code, with what it may be given: its observation, and another event in the place of its own. */
export type Call = (observation?: Observation, event?: unknown) => unknown;

export interface InvocationOptions {
  client: Langfuse;
  ctx: Context;
  /** Whether the invocation is an observation. */
  isTraced: boolean;
  flush: FlushOptions;
  /**
   * Whether the host cancels a stream's code with its request, unless something is left for `waitUntil`. Workers do, and count
   * the time that `waitUntil` has from the end of the stream.
   */
  awaitsStreams?: boolean;
  describe(): Invocation;
  /** Makes observations of the parts of an event. */
  watch?(root: Observation): { event: unknown; end(hasFailed: boolean): void } | undefined;
}

/** How long a flush waits for the end of a response's body, which is there at once unless it is a stream. */
const BODY_MS = 100;

/** A request, without its query, which may hold secrets. */
export function fetched(request: Request): Invocation {
  const { origin, pathname } = new URL(request.url);
  return {
    name: `${request.method} ${pathname}`,
    metadata: { "http.request.method": request.method, "url.full": origin + pathname },
    parent: request.headers.get("traceparent") ?? undefined,
  };
}

/**
 * Calls the user's code and gives what it gives. The flush is registered before, begins when the code has finished, and does not
 * wait for a stream, of which the observation ends, and is flushed again, when it has been read or given up.
 */
export function invoke(call: Call, options: InvocationOptions): unknown {
  const { client, ctx } = options;
  if (!client.enabled) {
    return call();
  }
  const flush = () => client.flush(options.flush);
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
      .then(async () => {
        abandon();
        isFlushing = true;
        const report = await flush();
        if (options.awaitsStreams) await hasEnded;
        return report;
      }),
  );
  if (!options.isTraced) {
    endRoot();
    return finishing(() => call(), finish);
  }
  const { name, metadata, parent } = described(options);
  const root = client.startObservation(name, metadata && { metadata }, parent ? { parentSpanContext: parent } : {});
  const parts = options.watch?.(root);
  // Until it is over nothing else has to register a flush.
  const invocation = { isOpen: true };
  const inside = <R>(run: () => R): R =>
    entering({ client, observation: root, propagated: current(client)?.propagated, invocation })(run);
  let turns = 0;
  const within = <R>(run: () => R): R => {
    turns++;
    return inside(run);
  };
  const end = (attributes: ObservationAttributes, hasFailed: boolean) => {
    inside(() => {
      parts?.end(hasFailed);
      root.update(attributes).end();
    });
    invocation.isOpen = false;
    endRoot();
    if (isFlushing) {
      // A stream that was over after the response.
      ctx.waitUntil(flush());
    }
  };
  // A body of which nothing has been read by now has nobody to read it: its request was cancelled, or asked for the head only.
  abandon = () => turns <= 1 && end({}, false);
  return finishing(() => {
    try {
      return watched(
        within(() => (parts ? call(root, parts.event) : call(root))),
        {
          within,
          // The answer is what the code's own observations say.
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
function described({ describe }: InvocationOptions): Invocation {
  try {
    return describe();
  } catch {
    return { name: "invocation" };
  }
}

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

/** What a response says; of other results nothing, which are the user's own affair. */
function outcome(output: unknown, isPartial: boolean): ObservationAttributes {
  const status = (output as { status?: unknown } | undefined)?.status;
  return {
    ...(typeof status === "number" && { metadata: { "http.response.status_code": status } }),
    ...(typeof status === "number" && status >= 500 && { level: "ERROR", statusMessage: `HTTP ${status}` }),
    ...(isPartial && { level: "WARNING", statusMessage: "the client left before the end of the response" }),
  };
}
