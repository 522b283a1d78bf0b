/** The client as users have it: the core's, above the guard that replaces a lost instance. */

/// <reference lib="esnext.disposable" />

import { environment } from "#process";
import { Langfuse as CoreClient } from "./core.js";
import type {
  FlushOptions,
  FlushReport,
  LangfuseOptions as CoreOptions,
  ObservationType,
  Stats,
} from "./core.js";
import { current } from "./context.js";
import type { WaitUntil } from "./hosts.js";
import { Lifetime } from "./lifetime.js";
import type { Mask } from "./mask.js";
import { hasParent, Observation, type AttributesOf, type StartObservationOptions } from "./observation.js";
import { serverOf } from "./project.js";
import { Scores } from "./score.js";

/** Options of a client. What is absent comes from `LANGFUSE_*` variables. */
export interface LangfuseOptions extends CoreOptions {
  /**
   * Hides parts of input, output, metadata, status messages and tags before they are recorded: see `maskPatterns` for common
   * ones. Default: nothing is hidden.
   */
  mask?: Mask;
  /** Further headers of every request, as a proxy in front of the server may want them. Those of the client itself stay. */
  additionalHeaders?: Record<string, string>;
  /**
   * `immediate` sends as soon as something is recorded, in full batches all the same: it is `flushAt: 1`. Default: batched.
   * In a long-lived process only: elsewhere `flush()` sends.
   */
  exportMode?: "immediate" | "batched";
  /**
   * Keeps the host from freezing a request until a promise is settled: a flush of what a request has recorded is registered with it.
   * Default: what the host offers: Cloudflare Workers, Vercel, or the global `EdgeRuntime` (Supabase, Deno). `false` for none.
   */
  waitUntil?: WaitUntil | false;
  /** Does nothing: no media are uploaded. Here for those who come from Langfuse's own clients, as the others below. */
  mediaUploadEnabled?: boolean;
  /** Does nothing: what is recorded here is for Langfuse, so there is nothing to select. */
  shouldExportSpan?: unknown;
  /** Does nothing: no integration names itself. */
  sdkIntegration?: string;
  /** Does nothing: what can be tried again is tried again until the flush is over, and by the next one. */
  fetchRetryCount?: number;
}

/** Options that are no variables. */
type OwnOptions = Pick<LangfuseOptions, "mask" | "additionalHeaders" | "exportMode" | "waitUntil">;

/**
 * A Langfuse client.
 *
 * Recording is synchronous and never throws. `flush()` sends. In a long-lived process (Node.js, Deno, Bun) the client also
 * sends by itself: after `flushAt` records or `flushInterval` seconds, and when the process has nothing left to do. Neither
 * `process.exit()` nor a crash waits for that: see `flushOnSignals` for SIGTERM and SIGINT.
 *
 * A defect of the WebAssembly module below (a trap), or a lack of stack, costs the records that are not delivered yet:
 * the next flush reports them as dropped, with the reason `state_lost`. The client goes on with a new instance, and so does what is open.
 */
export class Langfuse {
  readonly #client: Lifetime;

  /**
   * A client with these options; what is absent comes from `process.env`, where the host has it and lets it be read.
   * Without keys it is disabled: one warning, and every call is a no-op.
   *
   * @throws Error that names the option, when one has a value that cannot be used.
   */
  constructor(options?: LangfuseOptions | null);
  /** @internal */
  constructor(options: OwnOptions | undefined, make: () => CoreClient);
  constructor(
    options?: LangfuseOptions | null,
    make = () => new CoreClient(options, environment(undefined, options)),
  ) {
    const mask = options?.mask;
    if (mask !== undefined && mask !== null && typeof mask !== "function") {
      throw new Error("langfuse-edge: mask must be a function from { data } to the text that is recorded instead");
    }
    const waitUntil = options?.waitUntil;
    if (waitUntil && typeof waitUntil !== "function") {
      throw new Error("langfuse-edge: waitUntil must be a function that takes a promise, or false");
    }
    this.#client = new Lifetime(this, mask, headersOf(options), waitUntil, make);
  }

  /**
   * A client configured by the `LANGFUSE_*` variables of `env`: a Worker's `env` object, or anything like it.
   * Without `env`, as `new Langfuse()`. Options are what no variable can say.
   *
   * @throws Error that names the variable, when one has a value that cannot be used.
   */
  static fromEnv(
    env?: Record<string, unknown> | object,
    options?: OwnOptions,
  ): Langfuse {
    return new Langfuse(options, () => CoreClient.fromEnv(environment(env, options)));
  }

  /** What it is beyond one wasm instance. @internal */
  get lifetime(): Lifetime {
    return this.#client;
  }

  /** Whether anything is recorded. */
  get enabled(): boolean {
    return this.#client.isEnabled;
  }

  /** Records scores, which the next flush sends. */
  get score(): Scores {
    return new Scores(
      (body) => this.#client.score(body),
      () => current(this)?.observation,
    );
  }

  /** Totals since the client was made; all 0 when it is disabled. It never throws. */
  stats(): Stats {
    return this.#client.stats();
  }

  /**
   * Starts an observation: a child of `options.parentSpanContext`, else of the client's current observation, else the root of
   * a new trace. It is not made the current one. It never throws: what cannot be used is left out, with a warning where that
   * is a mistake.
   *
   * @param name What it is called; anything but a string is shown as one.
   * @param attributes What it says from the start. Default: nothing.
   * @param options Its type (default: span), its start (default: now), its parent (default: none).
   */
  startObservation<Type extends ObservationType = "span">(
    name: string,
    attributes?: AttributesOf<Type> | null,
    options?: StartObservationOptions<Type> | null,
  ): Observation<Type> {
    const own = current(this);
    if (own?.observation && !hasParent(options)) {
      return own.observation.startObservation(name, attributes, options);
    }
    return Observation.start(this.#client, undefined, name, attributes, options);
  }

  /**
   * Sends everything recorded before the call and waits until each record is delivered, rejected, or honestly
   * reported as retained; at most 25 s unless told otherwise. It never throws, and the promise is never rejected.
   */
  flush(options?: FlushOptions | null): Promise<FlushReport> {
    return this.#client.flush("flush", options);
  }

  /**
   * Flushes for the last time, for at most 25 s unless told otherwise. From now on nothing is recorded, and what could
   * not be delivered is dropped and reported as such. It never throws, and the promise is never rejected.
   */
  shutdown(options?: FlushOptions | null): Promise<FlushReport> {
    const client = this.#client;
    const report = client.flush("shutdown", options);
    client.make = undefined;
    return report;
  }

  /** As `flush`: the name in version 3 of Langfuse's own client. */
  flushAsync(options?: FlushOptions | null): Promise<FlushReport> {
    return this.flush(options);
  }

  /** As `flush`: the name in OpenTelemetry. */
  forceFlush(options?: FlushOptions | null): Promise<FlushReport> {
    return this.flush(options);
  }

  /** As `shutdown`: the name in version 3 of Langfuse's own client. */
  shutdownAsync(options?: FlushOptions | null): Promise<FlushReport> {
    return this.shutdown(options);
  }

  /** As `shutdown`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }

  /**
   * Whether the server knows the keys, which is asked now. If not, one warning says why: wrong keys, another region, or no
   * answer within `timeout`. It never rejects.
   */
  async authCheck(): Promise<boolean> {
    return !!(await this.#client.askForProject());
  }

  /**
   * Where a trace is shown. The server is asked once for the project that it is in; undefined, after a warning that says why,
   * when it does not tell. It never rejects.
   *
   * @param traceId As `observation.traceId`, 32 hex digits.
   */
  async getTraceUrl(traceId: string): Promise<string | undefined> {
    const client = this.#client;
    const projectId = client.projectId ?? (await client.askForProject());
    return projectId && `${serverOf(client.life)}/project/${projectId}/traces/${traceId}`;
  }

  /**
   * Gives the client's memory back, with the records that no flush has under way. Every later call is a no-op.
   * The garbage collector does the same.
   */
  free(): void {
    this.#client.free();
  }

  /** As `free`, for `using`. */
  [Symbol.dispose](): void {
    this.free();
  }
}

/** In lower case, as the core has its own. Node.js takes 20 ms to load what `Headers` belongs to, which only those pay who give some. */
function headersOf(options: OwnOptions | null | undefined): Record<string, string> {
  try {
    const headers = options?.additionalHeaders;
    return headers ? Object.fromEntries(new Headers(headers)) : {};
  } catch {
    throw new Error("langfuse-edge: additionalHeaders must be an object of header names and values that HTTP allows");
  }
}
