// Runs of the workflow: what they have told, and how they end.
import { randomUUID } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";

import { runWorkflowWithFlush, startActiveObservation, step } from "langfuse-edge";

import { writeArticle } from "./workflow.mjs";

/** So many can be asked for; of more, the oldest is forgotten. */
const MOST_KEPT = 1000;
const ABORTED = "aborted: the server is ending";
/** For aborted runs to end: each of their steps waits for its flush. */
const LAST_STEPS_MS = 5000;

export class Runs {
  #known = new Map();
  /** What ends with each. */
  #underWay = new Map();
  #isEnding = false;

  /** Undefined when the server is ending. */
  start(order) {
    if (this.#isEnding) return;
    const run = new Run();
    this.#underWay.set(run, run.carryOut(order).finally(() => this.#underWay.delete(run)));
    if (this.#known.size === MOST_KEPT) this.#known.delete(this.#known.keys().next().value);
    this.#known.set(run.id, run);
    return run;
  }

  find(id) {
    return this.#known.get(id);
  }

  /** Lets the runs under way finish, aborts those that have not within `graceMs`, and waits until they have ended. */
  async end(graceMs) {
    this.#isEnding = true;
    console.log(`ending: ${this.#underWay.size} runs have ${graceMs / 1000} s to finish`);
    const all = Promise.all(this.#underWay.values());
    if (await isWithin(graceMs, all)) return;
    console.log("aborting those that have not finished");
    for (const run of this.#underWay.keys()) run.abort();
    // Those that wait for a flush even then are left alone: the last flush is still to come.
    await isWithin(LAST_STEPS_MS, all);
  }
}

class Run extends EventEmitter {
  id = randomUUID();
  /** What it has done; the last event is called `end`, when there is one. */
  told = [];
  #abort = new AbortController();
  #aborted = once(this.#abort.signal, "abort").then(() => {
    throw this.#abort.signal.reason;
  });

  constructor() {
    super();
    this.setMaxListeners(Infinity);
    this.#aborted.catch(() => {});
  }

  /** Its steps fail from now on. */
  abort() {
    this.#abort.abort(new Error(ABORTED));
  }

  /** It never rejects. */
  async carryOut(order) {
    await runWorkflowWithFlush(async () => {
      const end = await startActiveObservation("write_article", (root) => this.#write(root, order), { asType: "agent" }).then(
        (result) => ({ status: "done", result }),
        ({ message }) => ({ status: message === ABORTED ? "aborted" : "failed", error: message }),
      );
      this.#tell("end", { id: this.id, ...end });
    });
  }

  async #write(root, order) {
    root.update({ input: order, metadata: { run: this.id } });
    const article = await writeArticle(this, order);
    root.update({ output: article });
    return article;
  }

  /**
   * Runs a part of the workflow as an observation of its own. The run tells of it when it has been flushed, or has waited a
   * second for that.
   */
  async step(name, work) {
    const begun = performance.now();
    const { signal } = this.#abort;
    const unlessAborted = () => {
      signal.throwIfAborted();
      return Promise.race([this.#aborted, work(signal)]);
    };
    let error = null;
    try {
      return await step(name, unlessAborted);
    } catch (thrown) {
      error = thrown.message;
      throw thrown;
    } finally {
      this.#tell("step", { step: name, ms: Math.round(performance.now() - begun), error });
    }
  }

  #tell(event, data) {
    this.told.push({ event, data });
    this.emit("told", { event, data });
  }

  get summary() {
    const last = this.told.at(-1);
    return last?.event === "end" ? last.data : { id: this.id, status: "running" };
  }
}

/** Whether a promise is settled in time. */
export async function isWithin(ms, promise) {
  const timer = new AbortController();
  const isLate = sleep(ms, false, { signal: timer.signal });
  try {
    return await Promise.race([promise.then(() => true), isLate]);
  } finally {
    timer.abort();
    isLate.catch(() => {});
  }
}
