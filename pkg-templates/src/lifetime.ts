/** What a client is beyond one wasm instance, which can be lost. */

import { attend, follow, recorded, warn } from "#process";
import type { Langfuse } from "./client.js";
import { Langfuse as CoreClient } from "./core.js";
import type {
  FlushOptions,
  FlushReport,
  ObservationAttributes,
  ObservationType,
  ScoreBody,
  StartObservationOptions as CoreStartOptions,
  Stats,
  TraceAttributes,
} from "./core.js";
import { attributesAsText, read, traceAsText } from "./attributes.js";
import type { WaitUntil } from "./hosts.js";
import { discard, generation, giveUp, guarded } from "./instance.js";
import type { Mask } from "./mask.js";
import { parentOf, Started, type Observation, type StartObservationOptions } from "./observation.js";
import { askForProject } from "./project.js";
import { shared } from "./shared.js";
import type { SpanContext } from "./trace-id.js";

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

/**
 * The core's client with what its types do not show. It knows open observations by numbers: it frees what it has of one when
 * that ends, which no garbage collector has to tell it.
 */
export interface Core extends CoreClient {
  keepAccount(life: Life): void;
  countLost(records: number): void;
  /** Gives trace id, id and type of what it starts in one text. */
  start(
    name: string,
    attributes: ObservationAttributes | null | undefined,
    options: CoreStartOptions | undefined,
    above: number | SpanContext | undefined,
  ): string;
  /** The number of what was started last; 0 if it is not open. */
  readonly started: number;
  /** Does this to an open observation, and gives whether it was open. */
  act(number: number, step: Step, value?: unknown, asType?: ObservationType): boolean;
}

/** What the core can do to an open observation. */
export const enum Step {
  /** Nothing. */
  Ask,
  Update,
  UpdateTrace,
  End,
  /** As `End`, with a warning that nobody did. */
  Abandon,
}

/** A client for as long as its user has it: how to make the core's again, and what was lost. */
export class Lifetime {
  isEnabled = false;
  /** Lost records that the core is to be told of. */
  lost = 0;
  life: Life;
  /** In the instance of `life`. Absent until it is needed, and when it is freed. */
  wrapped: Core | undefined;
  /** Plain text, which requests may share. */
  projectId: string | undefined;
  /** When a flush last delivered something. */
  deliveredAt: number | undefined;
  /** The last flush that was not all well. */
  failed: { at: number; report: FlushReport } | undefined;
  /** What is wrong with the environment, when it stands for the client that was to be made from that. */
  declare problem?: string;
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
  core(): Core | undefined {
    let { life } = this;
    if (life.generation !== generation) {
      this.lost += life.held + life.untold;
      this.life = life = lifeIn(generation, life.headers);
      this.wrapped = undefined;
    }
    if (!this.wrapped && this.make) {
      const core = this.make() as Core;
      core.keepAccount(life);
      // Options and environment may be others by the time it is made again.
      this.make = () => CoreClient.fromEnv(life);
      this.isEnabled = core.enabled;
      this.wrapped = core;
      attend(this, life);
    }
    if (this.wrapped && this.lost) {
      this.wrapped.countLost(this.lost);
      life.untold += this.lost;
      this.lost = 0;
    }
    return this.wrapped;
  }

  /**
   * `above` is how the core knows the observation that this is a child of: by its number while it is open, when the core has the
   * child say of the trace what is `inherited`, else by its ids.
   */
  observe<Type extends ObservationType>(
    above: ((core: Core) => number | SpanContext) | undefined,
    inherited: TraceAttributes | undefined,
    trace: TraceAttributes | undefined,
    name: string,
    attributes: ObservationAttributes | null | undefined,
    options: StartObservationOptions<Type> | null | undefined,
  ): Observation<Type> {
    const text = attributesAsText(attributes, this.mask);
    let own: CoreStartOptions | undefined;
    if (options) {
      own = {
        asType: read(options, "asType"),
        startTime: read(options, "startTime"),
        parentSpanContext: parentOf(options) ?? read(options, "parentSpanContext"),
        spanContext: read(options, "spanContext"),
        trace: read(options, "trace"),
      } satisfies Record<keyof CoreStartOptions, unknown> as CoreStartOptions;
    }
    let number = 0;
    const ids = guarded(() => {
      const core = this.core();
      const parent = core && above?.(core);
      if ((trace || inherited) && (trace !== inherited || typeof parent !== "number")) {
        own = { ...own, trace: traceAsText(trace ?? {}, this.mask) };
      }
      const ids = core?.start(name, text, own, parent);
      number = core?.started ?? 0;
      return ids;
    });
    if (!ids) {
      number = 0;
      this.lose();
    }
    const observation = new Started<Type>(this, number, ids, trace);
    if (!number) recorded(this);
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
    if (!isRecorded && this.life.held === held) {
      this.lose();
    }
  }

  /** A record is lost; none of a client that is disabled or was freed. */
  lose(): void {
    this.lost += Number(this.isEnabled);
  }

  stats(): Stats {
    return guarded(() => this.core()?.stats()) ?? NO_STATS;
  }

  /** Neither throws nor rejects. */
  flush(method: "flush" | "shutdown", options?: FlushOptions | null): Promise<FlushReport> {
    let { life } = this;
    this.waiting = 0;
    shared().endOrphans?.();
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
    void report.then((report) => {
      const at = Date.now();
      if (report.delivered) this.deliveredAt = at;
      if (!report.ok) this.failed = { at, report };
    });
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
