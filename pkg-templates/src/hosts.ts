/** What hosts offer to keep a function from being frozen. */

/** Keeps a host from freezing a request until a promise is settled. */
export type WaitUntil = (promise: Promise<unknown>) => void;

const VERCEL = Symbol.for("@vercel/request-context");

/** What has a `waitUntil`. */
export interface Keeper {
  readonly waitUntil?: WaitUntil | false | undefined;
}

/** That of Vercel, or the global `EdgeRuntime` (Supabase, Deno). Asked for each time: Vercel's belongs to one request. */
export function hostsKeeper(): Keeper | undefined {
  const host = globalThis as {
    [VERCEL]?: { get?(): Keeper | undefined };
    EdgeRuntime?: Keeper;
  };
  try {
    const vercel = host[VERCEL]?.get?.();
    const keeper = typeof vercel?.waitUntil === "function" ? vercel : host.EdgeRuntime;
    return typeof keeper?.waitUntil === "function" ? keeper : undefined;
  } catch {
    // What stands there is not what it looks like.
    return undefined;
  }
}
