/**
 * The surface of version 3 of Langfuse's own client, `langfuse`, over the same core: for programs that were written for it.
 *
 * Langfuse takes an observation once, complete, and has no record of a trace: that is made of its observations. So here a span
 * or a generation is recorded when it ends, and a trace is an observation, too: its root, which a flush ends.
 *
 * @module langfuse-edge/v3
 */

import "./load.js";

import type { FlushOptions, FlushReport } from "./core.js";
import {
  traceIdOf,
  type EventBody,
  type GenerationBody,
  type MaskFunction,
  type ScoreBody,
  type SpanBody,
  type TraceBody,
} from "./v3-bodies.js";
import { errorOf, read, Tracer, type Child, type Trace } from "./v3-tracer.js";

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
  /** HTTP headers of every request, beside the client's own. */
  additionalHeaders?: Record<string, string>;
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
