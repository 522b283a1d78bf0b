/** The public classes: they hold the core's behind a guard, and survive the wasm instance that these live in. */

/// <reference lib="esnext.disposable" />

import { attend, environment, follow, recorded, warn } from "#process";
import { Langfuse as CoreClient, Observation as CoreObservation } from "./core.js";
import type {
  FlushOptions,
  FlushReport,
  LangfuseOptions as CoreOptions,
  ObservationAttributes,
  ObservationType,
  ScoreBody,
  StartObservationOptions as CoreStartOptions,
  Stats,
  TraceAttributes,
} from "./core.js";
import { attributesAsText, read, traceAsText } from "./attributes.js";
import { current } from "./context.js";
import type { WaitUntil } from "./hosts.js";
import { generation, giveUp, guarded } from "./instance.js";
import type { Mask } from "./mask.js";
import { askForProject, serverOf } from "./project.js";
import { Scores } from "./score.js";
import { mergedTrace } from "./trace.js";
import { parseTraceparent, traceparentOf, type SpanContext } from "./trace-id.js";

/**
 * What is known of a client in one instance when that is lost. The core has it for as long as its client lives, so it leads to
 * nobody who has the client.
 */
interface Life {
  readonly generation: number;
  /** Further headers of its requests, with names in lower case. */
  readonly headers: Record<string, string>;
  /** How many records wait or are in flight: kept by the core, outside of its memory. */
  held: number;
  /** How many lost records the core knows of and no report has told. */
  untold: number;
  /** The client's settings, written by the core. */
  readonly [variable: `LANGFUSE_${string}`]: string;
}

/** Methods of the core that its types do not show. */
interface HiddenInClient {
  keepAccount(life: Life): void;
  countLost(records: number): void;
}
interface HiddenInObservation {
  readonly isOpen: boolean;
  takeOver(attributes: ObservationAttributes, asType: ObservationType | undefined): void;
}

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

/** What an observation that is no generation says. */
export type SpanAttributes = Pick<
  ObservationAttributes,
  "input" | "output" | "metadata" | "level" | "statusMessage" | "version" | "environment"
>;

/** What an observation of this type says: generations and embeddings have a model, usage, costs and a prompt. */
export type AttributesOf<Type extends ObservationType> = Type extends "generation" | "embedding"
  ? ObservationAttributes
  : SpanAttributes;

/** How an observation starts. */
export interface StartObservationOptions<Type extends ObservationType = ObservationType>
  extends Omit<CoreStartOptions, "asType" | "parentSpanContext" | "spanContext" | "trace"> {
  /** Default: span. An `event` ends when it starts. */
  asType?: Type;
  /**
   * The observation above it, when that is in another process or was started by another client: its ids, or a `traceparent`
   * header. One that cannot be used is left out, with a warning. Default: the current observation of the client, on hosts
   * with `AsyncLocalStorage`.
   */
  parentSpanContext?: SpanContext | string;
}

/** What a client is beyond the instance: how to make it again, and what it has lost. */
class Client {
  isEnabled = false;
  /** Lost records that the core is to be told of. */
  lost = 0;
  life: Life;
  /** In the instance of `life`. Absent until it is needed, and when it is freed. */
  wrapped: CoreClient | undefined;
  /** Plain text, which requests may share. */
  projectId: string | undefined;
  /** See `register.ts`. */
  turn = 0;
  waiting = 0;

  /** `make` is absent when the client is not to be made again. */
  constructor(
    readonly langfuse: Langfuse,
    readonly mask: Mask | undefined,
    headers: Record<string, string>,
    readonly waitUntil: WaitUntil | false | undefined,
    public make?: () => CoreClient,
  ) {
    this.life = lifeIn(-1, headers);
    let problem: unknown;
    const core = guarded(() => {
      try {
        return this.core();
      } catch (error) {
        problem = error;
        if ((error as Error).message.startsWith("langfuse-edge: ")) {
          return; // About an option: the user's to see, and no trap.
        }
        throw error;
      }
    });
    if (!core && problem) {
      throw problem;
    }
  }

  /** The core's client in the instance in use. To be called under the guard. */
  core(): CoreClient | undefined {
    let { life } = this;
    if (life.generation !== generation) {
      this.lost += life.held + life.untold;
      this.life = life = lifeIn(generation, life.headers);
      this.wrapped = undefined;
    }
    if (!this.wrapped && this.make) {
      const core = this.make();
      (core as CoreClient & HiddenInClient).keepAccount(life);
      // Options and environment may be others by the time it is made again.
      this.make = () => CoreClient.fromEnv(life);
      this.isEnabled = core.enabled;
      this.wrapped = core;
      attend(this, life);
    }
    if (this.wrapped && this.lost) {
      (this.wrapped as CoreClient & HiddenInClient).countLost(this.lost);
      life.untold += this.lost;
      this.lost = 0;
    }
    return this.wrapped;
  }

  /**
   * `above` is the core's observation that this is a child of, if it is one and its instance is in use; `inherited` is what
   * that has said of its trace since it started.
   */
  observe<Type extends ObservationType>(
    above: (() => CoreObservation | undefined) | undefined,
    inherited: TraceAttributes | undefined,
    trace: TraceAttributes | undefined,
    name: string,
    attributes: ObservationAttributes | null | undefined,
    options: StartObservationOptions<Type> | null | undefined,
  ): Observation<Type> {
    const text = attributesAsText(attributes, this.mask);
    const parent = parentOf(options);
    const isInherited = trace === inherited && above?.();
    const core = {
      asType: read(options, "asType"),
      startTime: read(options, "startTime"),
      parentSpanContext: parent ?? read(options, "parentSpanContext"),
      spanContext: read(options, "spanContext"),
      trace: trace && !isInherited ? traceAsText(trace, this.mask) : read(options, "trace"),
    } satisfies Record<keyof CoreStartOptions, unknown> as CoreStartOptions;
    let isOpen = false;
    const started = guarded(() => {
      const started = (above?.() ?? this.core())?.startObservation(name, text, core) as
        | (CoreObservation & HiddenInObservation)
        | undefined;
      isOpen = started?.isOpen ?? false;
      return started;
    });
    const observation = new Started<Type>(this, started, isOpen, trace);
    if (!started && this.isEnabled) {
      this.lost++;
    }
    if (!isOpen) recorded(this);
    return observation;
  }

  /** Lost when it traps, before it became a record. */
  score(body: ScoreBody): void {
    const { held } = this.life;
    const isRecorded = guarded(() => {
      this.core()?.createScore(body);
      return true;
    });
    recorded(this);
    if (!isRecorded && this.isEnabled && this.life.held === held) {
      this.lost++;
    }
  }

  stats(): Stats {
    return guarded(() => this.core()?.stats()) ?? NO_STATS;
  }

  /** Neither throws nor rejects. */
  flush(method: "flush" | "shutdown", options?: FlushOptions | null): Promise<FlushReport> {
    let { life } = this;
    this.waiting = 0;
    const promise = guarded(() => {
      const core = this.core();
      life = this.life;
      return core?.[method](options);
    });
    if (!promise) {
      const report = Promise.resolve(lossReport(this.lost));
      this.lost = 0;
      return report;
    }
    const settled = (report: FlushReport) => {
      life.untold -= report.dropReasons["state_lost"] ?? 0;
      return report;
    };
    const disrupted = () => {
      giveUp(life.generation);
      if (life === this.life) {
        // Its report tells the loss, so no other does.
        this.life = lifeIn(-1, life.headers);
      }
      return lossReport(life.held + life.untold);
    };
    const report = promise.then(settled).catch(disrupted);
    follow(this, report);
    return report;
  }

  /** The project's id, asked for now; undefined, after a warning that says why, when it cannot be had. */
  async askForProject(): Promise<string | undefined> {
    try {
      if (!this.isEnabled) {
        throw new Error("tracing is disabled");
      }
      return (this.projectId = await askForProject(this.life));
    } catch (error) {
      warn(`langfuse-edge: ${(error as Error).message}`);
      return undefined;
    }
  }

  free(): void {
    this.make = undefined;
    this.isEnabled = false;
    discard(this.wrapped, this.life.generation);
    this.wrapped = undefined;
  }
}

/** The core says what is wrong with it. */
const NO_CONTEXT: SpanContext = { traceId: "", spanId: "" };

/** Whether the options name a parent that can be one. What is wrong with another the core says. */
function hasParent(options: StartObservationOptions | null | undefined): boolean {
  try {
    const parent = options?.parentSpanContext;
    if (!parent) return false;
    const ids = typeof parent === "string" ? parent : `00-${parent.traceId}-${parent.spanId}-00`.toLowerCase();
    return !!parseTraceparent(ids);
  } catch {
    return false;
  }
}

/** The context a header names; undefined when the options have none, or have it as the core wants it. */
function parentOf(options: StartObservationOptions | null | undefined): SpanContext | undefined {
  try {
    const parent = options?.parentSpanContext;
    return typeof parent === "string" ? (parseTraceparent(parent) ?? NO_CONTEXT) : undefined;
  } catch {
    return undefined;
  }
}

const lifeIn = (generation: number, headers: Record<string, string>): Life => ({ generation, headers, held: 0, untold: 0 });

const NO_STATS: Stats = {
  recorded: 0,
  delivered: 0,
  rejected: 0,
  dropped: 0,
  handedOver: 0,
  queued: 0,
  leased: 0,
  bytes: 0,
};

/** The report of a flush that was lost itself: what it has delivered nobody knows. */
const lossReport = (dropped: number): FlushReport => ({
  ok: false,
  delivered: 0,
  rejected: [],
  retained: 0,
  dropped,
  dropReasons: dropped ? { state_lost: dropped } : {},
  handedOver: 0,
  requests: 0,
  attempts: 0,
  ambiguous: 0,
  bytes: 0,
  durationMs: 0,
});

/**
 * A Langfuse client.
 *
 * Recording is synchronous and never throws. `flush()` sends. In a long-lived process (Node.js, Deno, Bun) the client also
 * sends by itself: after `flushAt` records or `flushInterval` seconds, and when the process has nothing left to do. Neither
 * `process.exit()` nor a crash waits for that: see `flushOnSignals` for SIGTERM and SIGINT.
 *
 * A defect of the WebAssembly module below (a trap), or a lack of stack, costs the records that are not delivered yet:
 * the next flush reports them as dropped, with the reason `state_lost`. The client goes on with a new instance.
 */
export class Langfuse {
  readonly #client: Client;

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
    this.#client = new Client(this, mask, headersOf(options), waitUntil, make);
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
    return this.#client.observe(undefined, undefined, own?.propagated, name, attributes, options);
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

/** An observation. It is recorded when it ends, complete, once. */
export class Observation<Type extends ObservationType = ObservationType> {
  readonly #client: Client;
  readonly #generation = generation;
  #core: CoreObservation | undefined;
  #isOpen: boolean;
  readonly #traceAtStart: TraceAttributes | undefined;
  #trace: TraceAttributes | undefined;
  #traceBelow: TraceAttributes | undefined;
  #id: string | undefined;
  #traceId: string | undefined;

  private constructor(
    client: Client,
    core: CoreObservation | undefined,
    isOpen: boolean,
    trace: TraceAttributes | undefined,
  ) {
    this.#client = client;
    this.#core = core;
    this.#isOpen = isOpen;
    this.#traceBelow = this.#trace = this.#traceAtStart = trace;
  }

  /** The client that records it. */
  get client(): Langfuse {
    return this.#client.langfuse;
  }

  /** Its id, 16 hex digits. */
  get id(): string {
    return (this.#id ??= this.#call((core) => core.id)) ?? "0".repeat(16);
  }

  /** Its trace's id, 32 hex digits. */
  get traceId(): string {
    return (this.#traceId ??= this.#call((core) => core.traceId)) ?? "0".repeat(32);
  }

  /** The `traceparent` header (W3C Trace Context) that makes another service continue below this observation. */
  get traceparent(): string {
    return traceparentOf(this);
  }

  /** What it stands for, such as `generation`. */
  get type(): Type {
    return (this.#call((core) => core.type) ?? "span") as Type;
  }

  /**
   * Takes over everything that `attributes` says, and returns the observation. After the end it does nothing; an event
   * has ended when it starts. It never throws: what cannot be read is left out.
   */
  update(attributes: Type extends "event" ? never : AttributesOf<Type>): this;
  /** @internal */
  update(attributes: ObservationAttributes, asType: ObservationType | undefined): this;
  update(attributes: ObservationAttributes, asType?: ObservationType): this {
    if (this.#isOpen) {
      const text = attributesAsText(attributes, this.#client.mask) as ObservationAttributes;
      this.#call((core) => (core as CoreObservation & HiddenInObservation).takeOver(text, asType));
    }
    return this;
  }

  /**
   * Lets everybody who has the URL of its trace see it, which cannot be taken back, and returns the observation. After the end
   * it does nothing.
   */
  setTraceAsPublic(): this {
    this.propagate({ public: true }, true);
    return this;
  }

  /** Says this of its trace beside what it says already, as do children that start from now on if `isKept`. @internal */
  propagate(own: TraceAttributes, isKept: boolean): void {
    const below = this.#traceBelow;
    this.updateTrace(mergedTrace(this.#trace, own));
    this.#traceBelow = isKept ? mergedTrace(below, own) : below;
  }

  /** Says this of its trace and nothing else, as do children that start from now on. @internal */
  updateTrace(trace: TraceAttributes): void {
    this.#traceBelow = this.#trace = trace;
    if (this.#isOpen) {
      const text = traceAsText(trace, this.#client.mask);
      this.#call((core) => core.updateTrace(text));
    }
  }

  /**
   * Ends it. Ending again does nothing. It never throws.
   *
   * @param endTime A `Date`, or milliseconds since 1970. Default: now.
   */
  end(endTime?: Date | number): void {
    if (this.#core && this.#isOpen) {
      this.#isOpen = false;
      const { life } = this.#client;
      const { held } = life;
      const hasEnded = this.#call((core) => {
        core.end(endTime);
        return true;
      });
      // Lost before it became a record.
      if (!hasEnded && life.held === held) {
        this.#client.lost++;
      }
      recorded(this.#client);
    }
  }

  /** Starts a child; after a loss of this one, the root of a new trace. Parameters as for `Langfuse.startObservation`. */
  startObservation<Child extends ObservationType = "span">(
    name: string,
    attributes?: AttributesOf<Child> | null,
    options?: StartObservationOptions<Child> | null,
  ): Observation<Child> {
    const client = this.#client;
    const trace = this.#traceBelow;
    const propagated = current(client.langfuse)?.propagated;
    return client.observe(
      () => (this.#generation === generation ? this.#core : undefined),
      this.#traceAtStart,
      propagated && propagated !== trace ? mergedTrace(trace, propagated) : trace,
      name,
      attributes,
      options,
    );
  }

  /**
   * Gives its memory back. One that is open is recorded first, with a warning that it never ended. Every later call is a
   * no-op. The garbage collector does the same.
   */
  free(): void {
    this.#isOpen = false;
    discard(this.#core, this.#generation);
    this.#core = undefined;
  }

  /** As `free`, for `using`. */
  [Symbol.dispose](): void {
    this.free();
  }

  #call<Result>(act: (core: CoreObservation) => Result): Result | undefined {
    const core = this.#core;
    return core && guarded(() => (this.#generation === generation ? act(core) : undefined));
  }
}

/** The constructor, which is nobody else's. */
const Started = Observation as unknown as new <Type extends ObservationType>(
  client: Client,
  core: CoreObservation | undefined,
  isOpen: boolean,
  trace: TraceAttributes | undefined,
) => Observation<Type>;

/** In lower case, as the core has its own. */
function headersOf(options: OwnOptions | null | undefined): Record<string, string> {
  try {
    return Object.fromEntries(new Headers(options?.additionalHeaders));
  } catch {
    throw new Error("langfuse-edge: additionalHeaders must be an object of header names and values that HTTP allows");
  }
}

/** Frees what is not lost already. A borrow that a terminated request holds is no reason to give up the instance. */
function discard(object: CoreClient | CoreObservation | undefined, of: number): void {
  if (of === generation) {
    try {
      object?.free();
    } catch {
      // The garbage collector has it.
    }
  }
}
