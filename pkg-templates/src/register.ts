/** A flush for what a request records, without being asked for: registered with the host, which keeps the request alive for it. */

import { warn } from "#process";
import type { Langfuse } from "./client.js";
import { current } from "./context.js";
import type { Keeper, WaitUntil } from "./hosts.js";

/** The part of a client that is used. */
export interface Recorder {
  readonly langfuse: Langfuse;
  readonly life: { readonly held: number };
  /** The user's own; false when nothing is to be registered. */
  readonly waitUntil: WaitUntil | false | undefined;
  /** When a flush was registered in the turn that is under way, else 0, and with what. */
  turn: number;
  registered: WaitUntil | false | undefined;
  /** Since when something waits for a flush that could not be registered; 0 when nothing does. */
  waiting: number;
  flush(method: "flush"): Promise<unknown>;
}

/** What a request records within so many milliseconds travels together. */
const GATHERING_MS = 100;
/** Nobody has flushed for so long. */
const FORGOTTEN_MS = 10_000;

let hasWarned = false;

/**
 * Something was recorded. Registered once a turn, with promises of this request's own: what another has registered may die with it.
 * A turn that is terminated runs no microtask, so the next one is known by its time as well; the clock of Workers stands still within one.
 * Requests that have waited for the same go on in one turn, and are told apart where each has a `waitUntil` of its own.
 */
export function registerFlush(client: Recorder, host: Keeper | undefined): void {
  const now = Date.now();
  const keeper = client.waitUntil === undefined ? host : client;
  const waitUntil = keeper?.waitUntil;
  const isRegistered = client.turn === now && client.registered === waitUntil;
  if (!client.life.held || isRegistered || waitUntil === false || current(client.langfuse)?.invocation?.isOpen) {
    return;
  }
  client.turn = now;
  client.registered = waitUntil;
  queueMicrotask(() => {
    client.turn = 0;
    client.registered = undefined;
  });
  try {
    const gathered = new Promise((resolve) => setTimeout(resolve, GATHERING_MS));
    (waitUntil as WaitUntil).call(keeper, gathered.then(() => client.life.held && client.flush("flush")));
  } catch {
    client.waiting ||= now;
    if (now - client.waiting > FORGOTTEN_MS && !hasWarned) {
      hasWarned = true;
      warn("langfuse-edge: nothing flushes what was recorded: use withLangfuse, the option waitUntil, or flush()");
    }
  }
}
