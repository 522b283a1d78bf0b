/** What a client is beyond one wasm instance, which can be lost. */

import { attend, follow, recorded, warn } from "#process";
import type { Langfuse } from "./client.js";
import { Langfuse as CoreClient } from "./core.js";
import type {
  FlushOptions,
  FlushReport,
  ScoreBody,
  Stats,
} from "./core.js";
import type { WaitUntil } from "./hosts.js";
import { discard, generation, giveUp, guarded } from "./instance.js";
import type { Mask } from "./mask.js";
import type { Observation } from "./observation.js";
import { askForProject } from "./project.js";
import { shared } from "./shared.js";

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

/** The core's client with what its types do not show. */
interface Core extends CoreClient {
  keepAccount(life: Life): void;
  countLost(records: number): void;
  /** Whether observations of this trace are recorded, as the sample rate has it. */
  keeps(traceId: string): boolean;
  /**
   * Records an observation that has ended: what it says as `attributes.ts` puts it together, how long that is, and when it began
   * and ended, in milliseconds since 1970. Whether it could be read.
   */
  record(said: string[], length: number, start: number, end: number): boolean;
}

/** So many observations of a client may be open. */
const MOST_OPEN = 10_000;
/** An observation may be open for so long. */
const LONGEST_OPEN_MS = 3_600_000;
/** Of the clock by which that is told. */
const LONGEST_STEP_MS = 900_000;

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
  registered: WaitUntil | false | undefined;
  waiting = 0;
  /** Observations that have not ended, and when they started by the clock, the oldest first. */
  readonly open = new Map<Observation, number>();
  #clock = 0;
  #now = 0;

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

  /** Whether observations of this trace are recorded. */
  keeps(traceId: string): boolean {
    const isSampling = Number(this.life.LANGFUSE_SAMPLE_RATE) < 1;
    return this.isEnabled && (!isSampling || !!guarded(() => this.core()?.keeps(traceId)));
  }

  /** Knows of an observation that has started, until it ends. */
  hold(observation: Observation, now: number): void {
    this.open.set(observation, this.#tick(now));
    this.#endNeglected();
  }

  /** Ends what nobody has ended in time. */
  #endNeglected(): void {
    for (const [observation, since] of this.open) {
      const isTooMany = this.open.size > MOST_OPEN;
      if (!isTooMany && this.#clock - since <= LONGEST_OPEN_MS) {
        break;
      }
      observation.abandon(`never ended: ${isTooMany ? "more than 10000 were open" : "open for more than 1 h"}`);
    }
  }

  /**
   * The clock is never set back, and never leaps by more than a quarter of an hour: outside of a request that of Workers shows 1970,
   * and what starts there is not an age old when the first request comes.
   */
  #tick(now: number): number {
    this.#clock += Math.min(Math.max(now - this.#now, 0), LONGEST_STEP_MS);
    this.#now = now;
    return this.#clock;
  }

  /** Records an observation that ends. */
  record(observation: Observation, said: string[], start: number, end: number): void {
    this.open.delete(observation);
    const length = said.reduce((sum, part) => sum + part.length, 0);
    this.#record((core) => core.record(said, length, start, end));
  }

  score(body: ScoreBody): void {
    this.#record((core) => core.createScore(body));
  }

  /** Lost when that traps before there is a record; one that there was is lost with all others. */
  #record(act: (core: Core) => unknown): void {
    let life: Life | undefined;
    let held = 0;
    const isDone = guarded(() => {
      if (life && life.held > held) {
        return true;
      }
      const core = this.core();
      // Before it is known whose: to ask takes stack, of which there may be none.
      held = this.life.held;
      life = this.life;
      return core && act(core) !== false;
    });
    if (!isDone && !(life && life.held > held)) {
      this.lose();
    }
    recorded(this);
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
    this.#tick(Date.now());
    this.#endNeglected();
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
    this.open.clear();
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
