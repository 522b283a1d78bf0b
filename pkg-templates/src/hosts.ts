/** What hosts offer to keep a function from being frozen. */

/** Keeps a host from freezing a request until a promise is settled. */
export type WaitUntil = (promise: Promise<unknown>) => void;

const VERCEL = Symbol.for("@vercel/request-context");

/** That of Vercel, or of the global `EdgeRuntime` (Supabase, Deno). Asked for each time: Vercel's belongs to one request. */
export function hostsWaitUntil(): WaitUntil | undefined {
  const host = globalThis as {
    [VERCEL]?: { get?(): { waitUntil?: WaitUntil } | undefined };
    EdgeRuntime?: { waitUntil?: WaitUntil };
  };
  try {
    const vercel = host[VERCEL]?.get?.();
    const owner = typeof vercel?.waitUntil === "function" ? vercel : host.EdgeRuntime;
    return typeof owner?.waitUntil === "function" ? (promise) => owner.waitUntil?.(promise) : undefined;
  } catch {
    // What stands there is not what it looks like.
    return undefined;
  }
}
