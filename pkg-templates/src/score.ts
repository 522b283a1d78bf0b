/** Scores. */

import { warn as say } from "#process";
import type { ScoreBody, ScoreData } from "./core.js";

/** What a score can be of: an observation, or anything else that names one. */
export interface Scored {
  /** The observation's id, 16 hex digits. */
  readonly id: string;
  /** Its trace's id, 32 hex digits. */
  readonly traceId: string;
}

/**
 * Records scores, which the client's next flush sends. A score follows the sampling of its trace.
 *
 * No method throws. A score that says too little to be one is left out with a warning on the console that says what is
 * missing; one that Langfuse refuses is in the flush report as rejected.
 */
export class Scores {
  readonly #record: (body: ScoreBody) => void;
  readonly #current: () => Scored | undefined;

  /** @internal */
  constructor(record: (body: ScoreBody) => void, current: () => Scored | undefined) {
    this.#record = record;
    this.#current = current;
  }

  /** Scores what `body` names: a trace, one of its observations, a session, or a run of a dataset. */
  create(body: ScoreBody): void {
    const problem = missing(body);
    if (problem) {
      warn(problem);
    } else if (typeof body.value === "boolean") {
      this.#record({ dataType: "BOOLEAN", ...body, value: Number(body.value) });
    } else {
      this.#record(body);
    }
  }

  /** Scores an observation, which may have ended. */
  observation(observation: Scored, data: ScoreData): void {
    this.create({ ...data, traceId: observation.traceId, observationId: observation.id });
  }

  /** Scores the trace that an observation belongs to. */
  trace(observation: Pick<Scored, "traceId">, data: ScoreData): void {
    this.create({ ...data, traceId: observation.traceId });
  }

  /** Scores the current observation. */
  activeObservation(data: ScoreData): void {
    this.#ofCurrent((observation) => this.observation(observation, data));
  }

  /** Scores the trace of the current observation. */
  activeTrace(data: ScoreData): void {
    this.#ofCurrent((observation) => this.trace(observation, data));
  }

  #ofCurrent(score: (observation: Scored) => void): void {
    const observation = this.#current();
    if (observation) {
      score(observation);
    } else {
      warn("there is no current observation");
    }
  }
}

/** What keeps it from being a score; the rest is for Langfuse to judge. */
function missing(body: ScoreBody): string | undefined {
  if (!body?.name) return "name must not be empty";
  const { value } = body;
  if (typeof value === "number" ? !Number.isFinite(value) : !["string", "boolean"].includes(typeof value)) {
    return "value must be a finite number, a string or a boolean";
  }
  const targets = [body.traceId, body.sessionId, body.datasetRunId].filter(Boolean).length;
  if (targets !== 1) return "it needs exactly one of traceId, sessionId and datasetRunId";
  if (body.observationId && !body.traceId) return "observationId needs traceId";
  return undefined;
}

function warn(problem: string): void {
  say(`langfuse-edge: the score is left out: ${problem}`);
}
