/**
 * The surface of version 3 of Langfuse's own client, `langfuse`, over the same core: for programs that were written for it.
 *
 * Langfuse takes an observation once, complete, and has no record of a trace: that is made of its observations. So here a span
 * or a generation is recorded when it ends, and a trace is an observation, too: its root, which a flush ends.
 */

import "./load.js";

import { traceAsText } from "./attributes.js";
import { Langfuse as Client, type Observation, type StartObservationOptions } from "./client.js";
import type { FlushOptions, FlushReport, TraceAttributes } from "./core.js";
import {
  attributesOf,
  masked,
  merged,
  namesOf,
  observationIdOf,
  rootElsewhere,
  saysAnything,
  scoreOf,
  timeOf,
  traceAttributesOf,
  traceIdOf,
  type EventBody,
  type GenerationBody,
  type MaskFunction,
  type ScoreBody,
  type SpanBody,
  type TraceBody,
} from "./v3-bodies.js";

export type { FlushOptions, FlushReport } from "./core.js";
export type { EventBody, GenerationBody, MaskFunction, ScoreBody, SpanBody, TraceBody, Usage } from "./v3-bodies.js";

/** Options of a client. What is absent comes from `LANGFUSE_*` variables, where the host has `process.env`. */
export interface LangfuseOptions {
  /** The project's public key (`LANGFUSE_PUBLIC_KEY`). */
  publicKey?: string;
  /** The project's secret key (`LANGFUSE_SECRET_KEY`). Without keys the client is disabled, after one warning. */
  secretKey?: string;
  /** The server (`LANGFUSE_BASE_URL`, `LANGFUSE_BASEURL`). Default: https://cloud.langfuse.com */
  baseUrl?: string;
  /** Observations and scores that make the client send by itself. Default: 15. */
  flushAt?: number;
  /**
   * **Milliseconds**, as in version 3 (the main entry has seconds), until the client sends by itself. 0 is never. Default: 10,000.
   * On Workers and their like nothing runs after a request, so there `flushAsync()` has to be called.
   */
  flushInterval?: number;
  /** **Milliseconds** one attempt to send may take (the main entry has seconds, in `timeout`). Default: 10,000. */
  requestTimeout?: number;
  /** The release of the program (`LANGFUSE_RELEASE`). */
  release?: string;
  /** The environment the observations belong to (`LANGFUSE_TRACING_ENVIRONMENT`). */
  environment?: string;
  /** `false` makes every call a no-op. Default: true. */
  enabled?: boolean;
  /** Replaces each input and output, as it was given, before it is recorded. When it throws, all of it is hidden. */
  mask?: MaskFunction;
  /** The share of traces that is kept, from 0 to 1 (`LANGFUSE_SAMPLE_RATE`). Default: 1. */
  sampleRate?: number;
}

const FLUSH_AT = 15;
const FLUSH_INTERVAL_MS = 10_000;
const MOST_FLUSH_AT = 1e9;
/** The longest interval the core knows. */
const A_DAY_MS = 86_400_000;
/** A trace that nobody has touched for so long is over, whatever is open in it. */
const QUIET_MS = 60_000;
/** Before an hour is over: then the core ends what is open, and says that it never ended. */
const LONGEST_MS = 50 * 60_000;
/** More traces are not waited with. The core would end their roots, and say that they never ended. */
const MOST_TRACES = 5_000;

/** A Langfuse client with the methods of version 3. No method throws, but for an option that cannot be used. */
export class Langfuse {
  readonly #tracer: Tracer;

  /** @throws Error that names the option, when one has a value that cannot be used. */
  constructor(params: LangfuseOptions = {}) {
    this.#tracer = new Tracer(params);
  }

  /**
   * A trace, or more of what the trace with this id says. Its root is recorded by `flushAsync()`, and is there to say what the
   * trace says: a trace of which only the id is said is one that began elsewhere, and has no root here.
   */
  trace(body?: TraceBody): LangfuseTraceClient {
    const said = read(body);
    const trace = this.#tracer.trace(said.id);
    trace.say(said);
    return new LangfuseTraceClient(this, trace);
  }

  /** Starts a span, in the trace of `traceId` or in a new one of the same name. */
  span(body: SpanBody): LangfuseSpanClient {
    return new LangfuseSpanClient(this, this.#tracer.start("span", read(body)));
  }

  /** Starts a generation, in the trace of `traceId` or in a new one of the same name. */
  generation(body: GenerationBody): LangfuseGenerationClient {
    return new LangfuseGenerationClient(this, this.#tracer.start("generation", read(body)));
  }

  /** Records an event, in the trace of `traceId` or in a new one of the same name. */
  event(body: EventBody): LangfuseEventClient {
    return new LangfuseEventClient(this, this.#tracer.start("event", read(body)));
  }

  /** Records a score of what `traceId` and `observationId` name, or of a session or a run of a dataset. */
  score(body: ScoreBody): this {
    this.#tracer.score(read(body));
    return this;
  }

  /** Where Langfuse shows the trace: once it is known of which project the keys are; undefined, with a warning, if that cannot be asked. */
  getTraceUrl(traceId: string): Promise<string | undefined> {
    return this.#tracer.langfuse.getTraceUrl(traceIdOf(traceId));
  }

  /**
   * Sends everything recorded so far and waits until it is settled; at most 25 s unless told otherwise. The promise is never
   * rejected: what became of the records is in the report.
   *
   * It first ends the roots of traces in which nothing is open. A trace with an open span or generation is not over and keeps its
   * root, for a minute after it was last used; but when no trace is over, that of the last call is, which is who flushes.
   * What is said of a trace after its root has ended, another root says.
   */
  flushAsync(options?: FlushOptions): Promise<FlushReport> {
    this.#tracer.endRoots();
    return this.#tracer.send(options);
  }

  /** As `flushAsync`, for a callback, which gets an error when not everything was delivered. */
  flush(callback?: (error?: Error, report?: FlushReport) => void): void {
    void this.flushAsync().then((report) => callback?.(errorOf(report), report));
  }

  /** As `flushAsync`, but first ends everything that is open. As in version 3, the client can still be used. */
  shutdownAsync(options?: FlushOptions): Promise<FlushReport> {
    this.#tracer.endAll();
    return this.#tracer.send(options);
  }

  /** @deprecated It waits for nothing: use `shutdownAsync`. */
  shutdown(): void {
    void this.shutdownAsync();
  }

  /**
   * Calls `callback` for each `flush`, with its report; for each `error`, with an error that has the `report` of a flush that has
   * not delivered everything; for each `warning`, with a text. Gives a function that ends this. Without anybody to hear of it, an
   * error or a warning is said on the console.
   */
  on(event: "flush", callback: (report: FlushReport) => void): () => void;
  on(event: "error", callback: (error: Error & { report: FlushReport }) => void): () => void;
  on(event: "warning", callback: (warning: string) => void): () => void;
  on(event: string, callback: (payload: any) => void): () => void {
    return this.#tracer.events.on(event, callback);
  }

  /** Whether every event is said on the console. */
  debug(enabled = true): void {
    this.#tracer.events.isDebugging = enabled;
  }
}

export default Langfuse;

/** A trace, or an observation. */
abstract class LangfuseObjectClient {
  /** The client it was made by. */
  readonly client: Langfuse;
  readonly #trace: Trace;
  readonly #above: Child | undefined;

  /** @internal */
  constructor(client: Langfuse, trace: Trace, above?: Child) {
    this.client = client;
    this.#trace = trace;
    this.#above = above;
  }

  /** The id Langfuse knows it by: of a trace 32 hex digits, of an observation 16. */
  get id(): string {
    return this.observationId ?? this.traceId;
  }

  /** Its trace's id, 32 hex digits. */
  get traceId(): string {
    return this.#trace.id;
  }

  /** Its id, 16 hex digits; null for a trace. */
  get observationId(): string | null {
    return this.#above?.observation.id ?? null;
  }

  /** Records an event below it. */
  event(body: Omit<EventBody, "traceId" | "parentObservationId">): LangfuseEventClient {
    return new LangfuseEventClient(this.client, this.#trace.start("event", read(body), this.#above));
  }

  /** Starts a span below it. */
  span(body: Omit<SpanBody, "traceId" | "parentObservationId">): LangfuseSpanClient {
    return new LangfuseSpanClient(this.client, this.#trace.start("span", read(body), this.#above));
  }

  /** Starts a generation below it. */
  generation(body: Omit<GenerationBody, "traceId" | "parentObservationId">): LangfuseGenerationClient {
    return new LangfuseGenerationClient(this.client, this.#trace.start("generation", read(body), this.#above));
  }

  /** Where Langfuse shows its trace, as `langfuse.getTraceUrl`. */
  getTraceUrl(): Promise<string | undefined> {
    return this.client.getTraceUrl(this.traceId);
  }

  /** Scores it. */
  score(body: Omit<ScoreBody, "traceId" | "observationId" | "sessionId" | "datasetRunId">): this {
    this.client.score({ ...read(body), traceId: this.traceId, observationId: this.observationId });
    return this;
  }
}

/** A trace. */
export class LangfuseTraceClient extends LangfuseObjectClient {
  readonly #trace: Trace;

  /** @internal */
  constructor(client: Langfuse, trace: Trace) {
    super(client, trace);
    this.#trace = trace;
  }

  /** More of what the trace says: metadata is merged by name, tags are added, anything else is replaced. */
  update(body: Omit<TraceBody, "id">): this {
    this.#trace.say(read(body));
    return this;
  }
}

abstract class LangfuseObservationClient<Body extends SpanBody> extends LangfuseObjectClient {
  readonly #child: Child;

  /** @internal */
  constructor(client: Langfuse, child: Child) {
    super(client, child.trace, child);
    this.#child = child;
  }

  /** More of what it says. After the end it does nothing, and one warning says so. */
  update(body: Omit<Body, "id" | "traceId">): this {
    this.#child.update(read(body) as Body);
    return this;
  }

  /** Ends it now, and records it. Ending again does nothing. */
  end(body?: Omit<Body, "id" | "traceId" | "endTime">): this {
    this.#child.end(read(body) as Body);
    return this;
  }
}

/** A span. */
export class LangfuseSpanClient extends LangfuseObservationClient<SpanBody> {}

/** A generation. */
export class LangfuseGenerationClient extends LangfuseObservationClient<GenerationBody> {}

/** An event. */
export class LangfuseEventClient extends LangfuseObjectClient {
  /** @internal */
  constructor(client: Langfuse, event: Child) {
    super(client, event.trace, event);
  }
}

type Kind = "span" | "generation" | "event";

/** What is open in a client, and when it is ended and sent. */
class Tracer {
  readonly langfuse: Client;
  readonly mask: MaskFunction | undefined;
  readonly events = new Events();
  readonly #flushAt: number;
  readonly #flushInterval: number;
  /** Traces with a root or an observation to end, the oldest first. */
  readonly #inUse = new Set<Trace>();
  /** The same by their ids. */
  readonly #byId = new Map<string, Trace>();
  #usedLast: Trace | undefined;
  #unsent = 0;
  #timer: Timer | undefined;
  /** When the timer fires, if its request is not over before: on Workers it then never does. */
  #due = 0;
  #hasWarnedOfEnd = false;

  constructor(params: LangfuseOptions) {
    const { flushAt, flushInterval = FLUSH_INTERVAL_MS, requestTimeout, mask, ...others } = params;
    this.#flushAt = Math.min(Math.max(Math.ceil(flushAt || FLUSH_AT), 1), MOST_FLUSH_AT);
    this.#flushInterval = Math.min(flushInterval, A_DAY_MS);
    const settings = {
      ...others,
      flushAt: this.#flushAt,
      flushInterval: Math.max(this.#flushInterval, 0) / 1000,
      ...(requestTimeout && { timeout: requestTimeout / 1000 }),
    };
    this.langfuse = new Client(settings);
    this.mask = mask;
  }

  /** The trace in use with this id, or a new one. */
  trace(id?: string | null): Trace {
    return (id ? this.#byId.get(traceIdOf(id)) : undefined) ?? new Trace(this, id ?? undefined);
  }

  start(kind: Kind, body: GenerationBody): Child {
    const { traceId, name } = body;
    const trace = this.trace(traceId);
    if (!traceId) {
      trace.say({ name: name ?? null });
    }
    return trace.start(kind, body);
  }

  score(body: ScoreBody): void {
    const score = scoreOf(body);
    this.langfuse.score.create(score);
    const trace = score.traceId && this.#byId.get(score.traceId);
    if (trace) {
      this.use(trace);
    }
    this.hasRecorded();
  }

  /** Somebody says something of this trace. */
  use(trace: Trace): void {
    trace.usedAt = Date.now();
    if (!this.langfuse.enabled) {
      return;
    }
    this.#usedLast = trace;
    this.#inUse.add(trace);
    this.#byId.set(trace.id, trace);
    const [oldest] = this.#inUse;
    if (this.#inUse.size > MOST_TRACES && oldest) {
      oldest.endRoot();
      this.#forget(oldest);
    }
    this.#setTimer();
  }

  /** Something waits to be sent. */
  hasRecorded(): void {
    if (!this.langfuse.enabled) {
      return;
    }
    if (++this.#unsent >= this.#flushAt) {
      void this.send();
    } else {
      this.#setTimer();
    }
  }

  /** Before a flush that somebody has asked for. */
  endRoots(): void {
    const last = this.#usedLast;
    if (!this.#endThose((trace) => trace.open.size === 0)) {
      last?.endRoot();
    }
  }

  endAll(): void {
    for (const trace of this.#inUse) {
      trace.endOpen(() => true);
      trace.endRoot();
      this.#forget(trace);
    }
  }

  async send(options?: FlushOptions): Promise<FlushReport> {
    this.#unsent = 0;
    const report = await this.langfuse.flush(options);
    const error = errorOf(report);
    if (error) {
      this.events.emit("error", error, error.message);
    }
    this.events.emit("flush", report);
    return report;
  }

  warnOfEnd(): void {
    if (!this.#hasWarnedOfEnd) {
      this.#hasWarnedOfEnd = true;
      const warning = "langfuse-edge: what is said of an observation after its end() is ignored";
      this.events.emit("warning", warning, warning);
    }
  }

  /** Ends the traces that are over. Whether there was one that `isOver` says to be. */
  #endThose(isOver: (trace: Trace) => boolean): boolean {
    const now = Date.now();
    let wasOver = false;
    for (const trace of this.#inUse) {
      trace.endOpen((child) => child.endTime !== undefined);
      if (isOver(trace)) {
        wasOver = true;
        trace.endRoot();
      } else if (now - trace.usedAt >= QUIET_MS || now - trace.since >= LONGEST_MS) {
        trace.endRoot();
      }
      if (!trace.isOpen && (trace.open.size === 0 || now - trace.usedAt >= LONGEST_MS)) {
        this.#forget(trace);
      }
    }
    return wasOver;
  }

  #forget(trace: Trace): void {
    this.#inUse.delete(trace);
    if (this.#byId.get(trace.id) === trace) {
      this.#byId.delete(trace.id);
    }
    if (this.#usedLast === trace) {
      this.#usedLast = undefined;
    }
  }

  #setTimer(): void {
    const now = Date.now();
    const interval = this.#flushInterval;
    if (!(interval > 0) || (this.#timer !== undefined && now < this.#due + interval)) {
      return;
    }
    try {
      clearTimeout(this.#timer);
      this.#due = now + interval;
      this.#timer = setTimeout(() => this.#onTimer(), interval);
      unref(this.#timer);
    } catch {
      // A Worker has no timers outside of requests.
    }
  }

  #onTimer(): void {
    this.#timer = undefined;
    this.#endThose((trace) => trace.open.size === 0 && Date.now() - trace.usedAt >= this.#flushInterval);
    void this.send();
    if (this.#inUse.size) {
      this.#setTimer();
    }
  }
}

/** What is known of a trace. */
class Trace {
  /** 32 hex digits. */
  readonly id: string;
  readonly since = Date.now();
  usedAt = this.since;
  /** Observations that have not ended. */
  readonly open = new Set<Child>();
  /** Whether it has a root that has not ended. */
  isOpen = false;
  /** How often it was told something. */
  edition = 0;
  readonly tracer: Tracer;
  /** Whether somebody else may know it, and have its root. */
  readonly #isGiven: boolean;
  /** The id it was given, when Langfuse knows it by another. */
  readonly #external: string | undefined;
  /** The observations whose ids were given. */
  readonly #given = new Map<string, Child>();
  #said: TraceBody = {};
  #root: Observation | undefined;
  #lastEnd = 0;

  constructor(tracer: Tracer, id: string | undefined) {
    this.tracer = tracer;
    this.#isGiven = id !== undefined;
    this.id = id === undefined ? randomId(32) : traceIdOf(id);
    this.#external = this.#isGiven && this.id !== id ? id : undefined;
  }

  say(body: TraceBody): void {
    if (saysAnything(body) || !(this.#root || this.#isGiven)) {
      const { mask } = this.tracer;
      const { timestamp, ...news } = body;
      const io = { input: masked(news.input, mask), output: masked(news.output, mask) };
      this.#said = merged(this.#said, { ...news, ...io });
      this.edition++;
      if (this.isOpen) {
        this.#root?.update(io);
        this.#root?.updateTrace(this.attributes());
      } else {
        this.#startRoot(timeOf(timestamp));
      }
    }
    this.tracer.use(this);
  }

  /** What all of its observations say, but for metadata of which an observation says something itself. */
  attributes(own?: ReadonlySet<string>): TraceAttributes {
    return traceAttributesOf(this.#said, this.#external, own);
  }

  /** Its first root, or one that says what was said after the end of another. */
  #startRoot(startTime: Date | undefined): void {
    const { name, input, output } = this.#said;
    const options = {
      ...(startTime && { startTime }),
      spanContext: { traceId: this.id, spanId: randomId(16) },
      trace: traceAsText(this.attributes(), undefined),
    };
    this.#root = this.tracer.langfuse.startObservation(name ?? "trace", { input, output }, options);
    this.isOpen = true;
    this.#lastEnd = 0;
  }

  start(kind: Kind, body: GenerationBody, above?: Child): Child {
    const { tracer } = this;
    const id = body.id ? observationIdOf(body.id) : undefined;
    const known = id && this.#given.get(id);
    if (known) {
      known.update(body);
      return known;
    }
    const parentId = !above && body.parentObservationId ? observationIdOf(body.parentObservationId) : undefined;
    const below = parentId ? this.#find(parentId) : above;
    const parent = below || parentId ? below?.observation : this.#root;
    const own = namesOf(body.metadata);
    const startTime = timeOf(body.startTime);
    const options: StartObservationOptions & { spanContext?: object; trace: TraceAttributes } = {
      asType: kind,
      ...(startTime && { startTime }),
      ...(id && { spanContext: { traceId: this.id, spanId: id } }),
      ...(!parent && { parentSpanContext: { traceId: this.id, spanId: parentId ?? rootElsewhere(this.id) } }),
      trace: traceAsText(this.attributes(own), undefined),
    };
    const attributes = attributesOf(body, tracer.mask, body.id);
    const observation = (parent ?? tracer.langfuse).startObservation(body.name ?? kind, attributes, options);
    const child = new Child(this, observation, own, body);
    if (id) {
      this.#given.set(id, child);
    }
    if (kind === "event") {
      child.isOpen = false;
      this.hasEnded(child, startTime);
      tracer.hasRecorded();
    } else {
      this.open.add(child);
    }
    tracer.use(this);
    return child;
  }

  #find(id: string): Child | undefined {
    return this.#given.get(id) ?? [...this.open].find(({ observation }) => observation.id === id);
  }

  hasEnded(child: Child, end: Date | undefined): void {
    this.open.delete(child);
    this.#lastEnd = Math.max(this.#lastEnd, Number(end ?? Date.now()) || 0);
  }

  endOpen(isOver: (child: Child) => boolean): void {
    for (const child of this.open) {
      if (isOver(child)) {
        child.finish(child.endTime);
      }
    }
  }

  /** What has an output has only not been told that it has ended. */
  endRoot(): void {
    this.endOpen(({ hasOutput }) => hasOutput);
    if (this.isOpen) {
      this.isOpen = false;
      this.#root?.end(this.#lastEnd || this.usedAt);
    }
  }
}

/** An observation below the root of a trace. */
class Child {
  isOpen = true;
  hasOutput = false;
  /** When it has ended, if somebody has said so. */
  endTime: Date | undefined;
  readonly trace: Trace;
  readonly observation: Observation;
  /** The names of its metadata. */
  readonly #own: Set<string>;
  /** Of what the trace was told, how much it says. */
  #edition: number;

  constructor(trace: Trace, observation: Observation, own: Set<string>, body: GenerationBody) {
    this.trace = trace;
    this.observation = observation;
    this.#own = own;
    this.#edition = trace.edition;
    this.#note(body);
  }

  update(body: GenerationBody): void {
    const { tracer } = this.trace;
    if (this.isOpen) {
      this.observation.update(attributesOf(body, tracer.mask));
      for (const name of namesOf(body.metadata)) {
        if (!this.#own.has(name)) {
          this.#own.add(name);
          // What the trace says by this name would win.
          this.#edition = -1;
        }
      }
      this.#note(body);
      tracer.use(this.trace);
    } else if (saysAnything(body)) {
      tracer.warnOfEnd();
    }
  }

  end(body: GenerationBody): void {
    this.update(body);
    if (this.isOpen) {
      this.finish(timeOf(body.endTime));
      this.trace.tracer.hasRecorded();
    }
  }

  finish(end: Date | undefined): void {
    const { trace, observation } = this;
    if (trace.edition !== this.#edition) {
      observation.updateTrace(trace.attributes(this.#own));
    }
    observation.end(end);
    this.isOpen = false;
    trace.hasEnded(this, end);
  }

  #note({ output, endTime }: GenerationBody): void {
    this.hasOutput ||= output !== undefined && output !== null;
    this.endTime = timeOf(endTime) ?? this.endTime;
  }
}

/** Web timers, as Deno has them, are numbers. */
type Timer = ReturnType<typeof setTimeout> | number;

/** A process may end while it is set. */
function unref(timer: Timer): void {
  if (typeof timer === "number") {
    (globalThis as { Deno?: { unrefTimer(timer: number): void } }).Deno?.unrefTimer(timer);
  } else {
    timer.unref?.();
  }
}

/** What somebody listens to. */
class Events {
  isDebugging = false;
  readonly #listeners = new Map<string, Set<(payload: any) => void>>();

  on(event: string, callback: (payload: any) => void): () => void {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(callback));
    return () => listeners.delete(callback);
  }

  /** `line` is said when nobody listens. */
  emit(event: string, payload: unknown, line?: string): void {
    if (this.isDebugging) {
      console.log("[Langfuse Debug]", event, line ?? JSON.stringify(payload));
    }
    const listeners = this.#listeners.get(event);
    if (line && !listeners?.size) {
      console.warn(line);
    }
    for (const listener of listeners ?? []) {
      try {
        listener(payload);
      } catch (error) {
        console.warn(`langfuse-edge: a listener of ${event} has thrown`, error);
      }
    }
  }
}

function errorOf(report: FlushReport): (Error & { report: FlushReport }) | undefined {
  if (report.ok) {
    return undefined;
  }
  const { delivered, rejected, retained, dropped } = report;
  const counts = `${delivered} delivered, ${rejected.length} rejected, ${retained} retained, ${dropped} dropped`;
  return Object.assign(new Error(`langfuse-edge: flush: ${counts}`), { report });
}

/** What a caller says, or nothing when a getter of theirs throws. */
function read<Body extends object>(body: Body | null | undefined): Body {
  try {
    return { ...body } as Body;
  } catch {
    return {} as Body;
  }
}

function randomId(digits: number): string {
  try {
    const bytes = crypto.getRandomValues(new Uint8Array(digits / 2));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  } catch {
    // A Worker has no random numbers outside of requests, so nothing is recorded there.
    return "1".padStart(digits, "0");
  }
}
