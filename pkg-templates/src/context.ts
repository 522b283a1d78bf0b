/** Which observation is the current one, on hosts with `AsyncLocalStorage`. */

import type { Observation } from "./client.js";
import { shared, type Storage } from "./shared.js";

type StorageClass = new <T>() => Storage<T>;

/** The current observation; undefined outside of any, and on hosts that cannot tell. */
export function currentObservation(): Observation | undefined {
  return storage()?.getStore();
}

/** Calls `callback` with `observation` as the current one, through everything it awaits. */
export function withCurrentObservation<R>(observation: Observation, callback: () => R): R {
  const current = storage();
  return current ? current.run(observation, callback) : callback();
}

/** Made on first use, so that importing this module does nothing. */
function storage(): Storage<Observation> | null {
  const state = shared();
  if (state.currentObservation === undefined) {
    const AsyncLocalStorage = findStorageClass();
    state.currentObservation = AsyncLocalStorage ? new AsyncLocalStorage<Observation>() : null;
  }
  return state.currentObservation;
}

/** Asked for at run time: an import of `node:async_hooks` keeps a Worker without Node.js compatibility from starting. */
function findStorageClass(): StorageClass | undefined {
  const host = globalThis as {
    AsyncLocalStorage?: StorageClass;
    process?: { getBuiltinModule?(id: string): { AsyncLocalStorage?: StorageClass } | undefined };
  };
  return host.AsyncLocalStorage ?? host.process?.getBuiltinModule?.("node:async_hooks")?.AsyncLocalStorage;
}
