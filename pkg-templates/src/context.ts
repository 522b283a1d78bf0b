/** What is current, for each client: an observation, and what new ones of its trace say. On hosts with `AsyncLocalStorage`. */

import type { Langfuse } from "./client.js";
import type { TraceAttributes } from "./core.js";
import type { Observation } from "./observation.js";
import { shared, type Storage } from "./shared.js";

/** What is current for one client. */
export interface Current {
  readonly client: Langfuse;
  readonly observation?: Observation | undefined;
  readonly propagated?: TraceAttributes | undefined;
  /** That of `withLangfuse` and its kin, which flushes at its end. */
  readonly invocation?: { readonly isOpen: boolean } | undefined;
  /** What is current for the others. */
  readonly others?: Current | undefined;
}

type StorageClass = new <T>() => Storage<T>;

/** What is current for this client, or for the one that was made current last. */
export function current(client?: Langfuse): Current | undefined {
  let found = storage()?.getStore();
  while (client && found && found.client !== client) {
    found = found.others;
  }
  return found;
}

/** The current observation of this client, or the one that was made current last; undefined on hosts that cannot tell. */
export function activeObservation(client?: Langfuse): Observation | undefined {
  return current(client)?.observation;
}

/** Calls `callback` with `observation` as the current one, through everything it awaits. */
export function withinObservation<R>(observation: Observation, callback: () => R): R {
  return enter(observation)(callback);
}

/** What calls others with `observation` as the current one and, whoever calls it and when, with everything else as it is now. */
export function enter(observation: Observation): <R>(callback: () => R) => R {
  const { client } = observation;
  return entering({ client, observation, propagated: current(client)?.propagated });
}

/** What calls others with these as what is current for their client. */
export function entering(own: Omit<Current, "others">): <R>(callback: () => R) => R {
  const around = storage();
  if (!around) {
    return (callback) => callback();
  }
  const store = { invocation: current(own.client)?.invocation, ...own, others: without(own.client, around.getStore()) };
  return (callback) => around.run(store, callback);
}

/** One entry a client, so that the list does not grow with the depth of the calls. */
function without(client: Langfuse, entry: Current | undefined): Current | undefined {
  if (!entry || entry.client === client) {
    return entry?.others;
  }
  return { ...entry, others: without(client, entry.others) };
}

/** Made on first use, so that importing this module does nothing. */
function storage(): Storage<Current> | null {
  const state = shared();
  if (state.current === undefined) {
    const AsyncLocalStorage = findStorageClass();
    state.current = AsyncLocalStorage ? new AsyncLocalStorage<Current>() : null;
  }
  return state.current;
}

/** Asked for at run time: an import of `node:async_hooks` keeps a Worker without Node.js compatibility from starting. */
function findStorageClass(): StorageClass | undefined {
  const host = globalThis as {
    AsyncLocalStorage?: StorageClass;
    process?: { getBuiltinModule?(id: string): { AsyncLocalStorage?: StorageClass } | undefined };
  };
  return host.AsyncLocalStorage ?? host.process?.getBuiltinModule?.("node:async_hooks")?.AsyncLocalStorage;
}
