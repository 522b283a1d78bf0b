/** Observations as users have them, and how they start. */

/// <reference lib="esnext.disposable" />

import { recorded } from "#process";
import type { Langfuse } from "./client.js";
import type {
  ObservationAttributes,
  ObservationType,
  StartObservationOptions as CoreStartOptions,
  TraceAttributes,
} from "./core.js";
import { attributesAsText, traceAsText } from "./attributes.js";
import { current } from "./context.js";
import { generation, guarded } from "./instance.js";
import { Step, type Core, type Lifetime } from "./lifetime.js";
import { mergedTrace } from "./trace.js";
import { parseTraceparent, traceparentOf, type SpanContext } from "./trace-id.js";

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

/** The core says what is wrong with it. */
const NO_CONTEXT: SpanContext = { traceId: "", spanId: "" };

/** Whether the options name a parent that can be one. What is wrong with another the core says. */
export function hasParent(options: StartObservationOptions | null | undefined): boolean {
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
export function parentOf(options: StartObservationOptions | null | undefined): SpanContext | undefined {
  try {
    const parent = options?.parentSpanContext;
    return typeof parent === "string" ? (parseTraceparent(parent) ?? NO_CONTEXT) : undefined;
  } catch {
    return undefined;
  }
}

/** An observation. It is recorded when it ends, complete, once. */
export class Observation<Type extends ObservationType = ObservationType> {
  readonly #client: Lifetime;
  readonly #generation = generation;
  /** How the core knows it while it is open; else 0. */
  #number: number;
  /** Trace id, id and type; absent when it could not be started. */
  readonly #ids: string | undefined;
  /** What the core has its children say of their trace. */
  #inherited: TraceAttributes | undefined;
  #trace: TraceAttributes | undefined;
  #traceBelow: TraceAttributes | undefined;

  private constructor(
    client: Lifetime,
    number: number,
    ids: string | undefined,
    trace: TraceAttributes | undefined,
  ) {
    this.#client = client;
    this.#number = number;
    this.#ids = ids;
    this.#traceBelow = this.#trace = this.#inherited = trace;
  }

  /** The client that records it. */
  get client(): Langfuse {
    return this.#client.langfuse;
  }

  /** Whether it has not ended, as far as its user can tell. @internal */
  get isOpen(): boolean {
    return this.#number > 0;
  }

  /** Its id, 16 hex digits. */
  get id(): string {
    return this.#ids?.slice(32, 48) ?? "0".repeat(16);
  }

  /** Its trace's id, 32 hex digits. */
  get traceId(): string {
    return this.#ids?.slice(0, 32) ?? "0".repeat(32);
  }

  /** The `traceparent` header (W3C Trace Context) that makes another service continue below this observation. */
  get traceparent(): string {
    return traceparentOf(this);
  }

  /** What it stands for, such as `generation`. */
  get type(): Type {
    return (this.#ids?.slice(48) ?? "span") as Type;
  }

  /**
   * Takes over everything that `attributes` says, and returns the observation. After the end it does nothing; an event
   * has ended when it starts. It never throws: what cannot be read is left out.
   */
  update(attributes: Type extends "event" ? never : AttributesOf<Type>): this;
  /** @internal */
  update(attributes: ObservationAttributes, asType: ObservationType | undefined): this;
  update(attributes: ObservationAttributes, asType?: ObservationType): this {
    if (this.#number) {
      const text = attributesAsText(attributes, this.#client.mask) as ObservationAttributes;
      this.#call((core) => core.act(this.#number, Step.Update, text, asType));
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
    if (this.#number) {
      const text = traceAsText(trace, this.#client.mask);
      this.#inherited = text;
      this.#call((core) => core.act(this.#number, Step.UpdateTrace, text));
    }
  }

  /**
   * Ends it. Ending again does nothing. It never throws.
   *
   * @param endTime A `Date`, or milliseconds since 1970. Default: now.
   */
  end(endTime?: Date | number): void {
    const number = this.#number;
    if (number) {
      this.#number = 0;
      const { life } = this.#client;
      const { held } = life;
      const hasEnded = this.#call((core) => {
        core.act(number, Step.End, endTime);
        return true;
      });
      // Lost before it became a record.
      if (!hasEnded && life.held === held) {
        this.#client.lose();
      }
      recorded(this.#client);
    }
  }

  /** Starts a child, also when it has ended or was lost. Parameters as for `Langfuse.startObservation`. */
  startObservation<Child extends ObservationType = "span">(
    name: string,
    attributes?: AttributesOf<Child> | null,
    options?: StartObservationOptions<Child> | null,
  ): Observation<Child> {
    const client = this.#client;
    const trace = this.#traceBelow;
    const propagated = current(client.langfuse)?.propagated;
    return client.observe(
      (core) =>
        this.#generation === generation && core.act(this.#number, Step.Ask)
          ? this.#number
          : { traceId: this.traceId, spanId: this.id },
      this.#inherited,
      propagated && propagated !== trace ? mergedTrace(trace, propagated) : trace,
      name,
      attributes,
      options,
    );
  }

  /** Records it, if it is open, with a warning that nobody ended it. Every later call is a no-op. */
  free(): void {
    if (this.#number) {
      this.#call((core) => core.act(this.#number, Step.Abandon));
      this.#number = 0;
    }
  }

  /** As `free`, for `using`. */
  [Symbol.dispose](): void {
    this.free();
  }

  #call<Result>(act: (core: Core) => Result): Result | undefined {
    return guarded(() => {
      const core = this.#generation === generation && this.#client.wrapped;
      return core ? act(core) : undefined;
    });
  }
}

/** The constructor, which is nobody else's. */
export const Started = Observation as unknown as new <Type extends ObservationType>(
  client: Lifetime,
  number: number,
  ids: string | undefined,
  trace: TraceAttributes | undefined,
) => Observation<Type>;
