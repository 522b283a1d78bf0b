/** What is open in a client of `langfuse-edge/v3`: traces with their roots and observations, and when those are ended and sent. */

import { Langfuse as Client } from "./client.js";
import type { FlushOptions, FlushReport, TraceAttributes } from "./core.js";
import type { Observation, StartObservationOptions } from "./observation.js";
import { randomId } from "./trace-id.js";
import type { LangfuseOptions } from "./v3.js";
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
  type GenerationBody,
  type MaskFunction,
  type ScoreBody,
  type TraceBody,
} from "./v3-bodies.js";

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

type Kind = "span" | "generation" | "event";

/** What is open in a client, and when it is ended and sent. */
export class Tracer {
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
export class Trace {
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
      trace: this.attributes(),
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
      trace: this.attributes(own),
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
export class Child {
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

export function errorOf(report: FlushReport): (Error & { report: FlushReport }) | undefined {
  if (report.ok) {
    return undefined;
  }
  const { delivered, rejected, retained, dropped } = report;
  const counts = `${delivered} delivered, ${rejected.length} rejected, ${retained} retained, ${dropped} dropped`;
  return Object.assign(new Error(`langfuse-edge: flush: ${counts}`), { report });
}

/** What a caller says, or nothing when a getter of theirs throws. */
export function read<Body extends object>(body: Body | null | undefined): Body {
  try {
    return { ...body } as Body;
  } catch {
    return {} as Body;
  }
}
