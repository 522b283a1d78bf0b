/** Observations as users have them, and how they start. */

/// <reference lib="esnext.disposable" />

import { warn } from "#process";
import type { Langfuse } from "./client.js";
import type {
  ObservationAttributes,
  ObservationType,
  StartObservationOptions as CoreStartOptions,
  TraceAttributes,
} from "./core.js";
import { entry, joined, millisOf, read, say, saidOfTrace, type SaidOfTrace, type Texts } from "./attributes.js";
import { current } from "./context.js";
import type { Lifetime } from "./lifetime.js";
import { mergedTrace } from "./trace.js";
import { contextOf, randomId, traceparentOf, type SpanContext } from "./trace-id.js";

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

const TYPES: readonly unknown[] = [
  "span",
  "generation",
  "event",
  "agent",
  "tool",
  "chain",
  "retriever",
  "evaluator",
  "embedding",
  "guardrail",
] satisfies ObservationType[];

/** Undefined, after a warning, when there is no such type. */
function typeOf(asType: unknown): ObservationType | undefined {
  if (asType === undefined || asType === null || TYPES.includes(asType)) {
    return (asType ?? undefined) as ObservationType | undefined;
  }
  warn(`langfuse-edge: asType must be one of ${TYPES.join(", ")}`);
  return undefined;
}

/** Whether the options name a parent that can be one. */
export const hasParent = (options: StartObservationOptions | null | undefined): boolean =>
  !!contextOf(read(options, "parentSpanContext") as SpanContext | undefined);

/** The place that an option names; undefined, after a warning, when it cannot be one. */
function placeIn(options: object | null | undefined, option: keyof CoreStartOptions): SpanContext | undefined {
  const given = read(options, option) as SpanContext | null | undefined;
  if (given === undefined || given === null) {
    return undefined;
  }
  const place = contextOf(given);
  if (!place) {
    warn(`langfuse-edge: ${option} is left out: it must have a traceId of 32 and a spanId of 16 hex digits, not all zero`);
  }
  return place;
}

/** A name is a string; anything else is shown as one. */
function nameOf(name: unknown): string {
  try {
    return String(name);
  } catch {
    return "";
  }
}

const NO_PARENT = "0".repeat(16);

/** An observation. It is recorded when it ends, complete, once. */
export class Observation<Type extends ObservationType = ObservationType> {
  /** Its trace's id, 32 hex digits. */
  readonly traceId: string;
  /** Its id, 16 hex digits. */
  readonly id: string;
  /** What it stands for, such as `generation`. */
  readonly type: Type;
  readonly #client: Lifetime;
  /** Milliseconds since 1970. */
  readonly #start: number;
  /** Its ids, that of the observation above it, and whether that is not of this process, as the core reads them. */
  readonly #place: string;
  #isOpen: boolean;
  /** What it says while it is open. */
  #texts: Texts;
  #trace: SaidOfTrace | undefined;
  /** What children say of their trace. */
  #traceBelow: SaidOfTrace | undefined;

  private constructor(
    client: Lifetime,
    above: Observation | undefined,
    name: string,
    attributes: ObservationAttributes | null | undefined,
    options: StartObservationOptions<Type> | null | undefined,
  ) {
    const remote = placeIn(options, "parentSpanContext");
    const own = placeIn(options, "spanContext");
    const type = typeOf(read(options, "asType")) ?? "span";
    this.traceId = (own ?? remote ?? above)?.traceId ?? randomId(32);
    this.id = own?.spanId ?? randomId(16);
    this.type = type as Type;
    this.#client = client;
    this.#place = this.traceId + this.id + (remote?.spanId ?? above?.id ?? NO_PARENT) + (remote || !above ? "1" : "0");
    const now = Date.now();
    // A clock that was set back must not let a child begin before its parent.
    const earliest = above && !remote ? above.#start : 0;
    this.#start = millisOf(read(options, "startTime")) ?? Math.max(now, earliest);

    const propagated = current(client.langfuse)?.propagated;
    let trace = above && above.#traceBelow;
    const said = read(options, "trace") as TraceAttributes | undefined;
    if (said) {
      trace = saidOfTrace(said, client.mask);
    } else if (propagated && propagated !== trace?.attributes) {
      trace = saidOfTrace(mergedTrace(trace?.attributes, propagated), client.mask);
    }
    this.#traceBelow = this.#trace = trace;

    this.#isOpen = client.keeps(this.traceId);
    this.#texts = { n: nameOf(name), a: type };
    if (this.#isOpen) {
      say(this.#texts, attributes, client.mask);
      if (type === "event") {
        this.end(this.#start);
      } else {
        client.hold(this, now);
      }
    }
  }

  /** Below `above`, or a root. @internal */
  static start<Type extends ObservationType>(
    client: Lifetime,
    above: Observation | undefined,
    name: string,
    attributes: ObservationAttributes | null | undefined,
    options: StartObservationOptions<Type> | null | undefined,
  ): Observation<Type> {
    return new Observation(client, above, name, attributes, options);
  }

  /** The client that records it. */
  get client(): Langfuse {
    return this.#client.langfuse;
  }

  /** Whether it has not ended, as far as its user can tell. @internal */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** The `traceparent` header (W3C Trace Context) that makes another service continue below this observation. */
  get traceparent(): string {
    return traceparentOf(this);
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
      this.#texts["a"] = typeOf(asType) ?? this.#texts["a"]!;
      say(this.#texts, attributes, this.#client.mask);
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
    this.updateTrace(mergedTrace(this.#trace?.attributes, own));
    this.#traceBelow = isKept ? saidOfTrace(mergedTrace(below?.attributes, own), this.#client.mask) : below;
  }

  /** Says this of its trace and nothing else, as do children that start from now on. @internal */
  updateTrace(trace: TraceAttributes): void {
    this.#traceBelow = this.#trace = saidOfTrace(trace, this.#client.mask);
  }

  /**
   * Ends it. Ending again does nothing. It never throws.
   *
   * @param endTime A `Date`, or milliseconds since 1970. Default: now.
   */
  end(endTime?: Date | number): void {
    this.#end(endTime, "");
  }

  /** Ends it for its user, who did not, with a warning that says why. @internal */
  abandon(why: string): void {
    this.#end(undefined, entry("!", why));
  }

  #end(endTime: unknown, complaint: string): void {
    if (this.#isOpen) {
      this.#isOpen = false;
      const texts = this.#texts;
      this.#texts = {};
      this.#client.record(
        this,
        [...joined(this.#place, texts), complaint + (this.#trace?.text ?? "")],
        this.#start,
        millisOf(endTime) ?? Date.now(),
      );
    }
  }

  /** Starts a child, also when it has ended. Parameters as for `Langfuse.startObservation`. */
  startObservation<Child extends ObservationType = "span">(
    name: string,
    attributes?: AttributesOf<Child> | null,
    options?: StartObservationOptions<Child> | null,
  ): Observation<Child> {
    return new Observation(this.#client, this, name, attributes, options);
  }

  /** Records it, if it is open, with a warning that nobody ended it. Every later call is a no-op. */
  free(): void {
    this.abandon("never ended");
  }

  /** As `free`, for `using`. */
  [Symbol.dispose](): void {
    this.free();
  }
}
