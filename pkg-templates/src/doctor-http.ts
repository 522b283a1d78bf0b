/** Questions to a server, beside what the client sends. */

import type { Keys } from "./doctor-environment.js";

export interface Answer {
  readonly status: number;
  /** Undefined when it is no JSON. */
  readonly body: unknown;
  readonly location: string | undefined;
  /** How many milliseconds the server's clock is ahead, to the second. */
  readonly clockAheadMs: number | undefined;
  readonly elapsedMs: number;
}

/** Why there is no answer. */
export interface Failure {
  readonly words: string;
}

export const TOO_LONG = "it took too long";

export class Http {
  constructor(
    readonly server: string,
    readonly timeoutMs: number,
  ) {}

  async get(path: string, keys?: Keys, { server = this.server, timeoutMs = this.timeoutMs } = {}): Promise<Answer | Failure> {
    try {
      const start = performance.now();
      const response = await ask(`${server}/api/public/${path}`, timeoutMs, keys);
      const elapsedMs = performance.now() - start;
      const clockAheadMs = ahead(response.headers.get("date"), elapsedMs);
      const body = parse(await response.text());
      const location = response.headers.get("location") ?? undefined;
      return { status: response.status, body, location, clockAheadMs, elapsedMs };
    } catch (error) {
      return { words: words(error) };
    }
  }

  /** The status of the answer; undefined when there is none. */
  async post(path: string, keys: Keys, body: string): Promise<number | undefined> {
    try {
      const response = await ask(`${this.server}/api/public/${path}`, this.timeoutMs, keys, body);
      await response.body?.cancel();
      return response.status;
    } catch {
      return undefined;
    }
  }
}

function ask(url: string, timeoutMs: number, keys?: Keys, body?: string): Promise<Response> {
  const headers: Record<string, string> = {};
  if (keys) headers.authorization = `Basic ${btoa(`${keys.publicKey}:${keys.secretKey}`)}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const request = { headers, redirect: "manual", signal: AbortSignal.timeout(Math.ceil(timeoutMs)) } as const;
  return fetch(url, body === undefined ? request : { ...request, method: "POST", body });
}

/** The innermost reason, which says what has happened. */
export function words(error: unknown): string {
  let innermost = error as Error & { code?: string; errors?: Error[]; reason?: unknown };
  for (;;) {
    const inner = (innermost.cause ?? innermost.errors?.[0]) as typeof innermost | undefined;
    if (!inner) break;
    innermost = inner;
  }
  const tookTooLong = innermost.name === "TimeoutError" || /TIMEOUT|ETIMEDOUT/.test(innermost.code ?? "");
  if (tookTooLong) return TOO_LONG;
  // OpenSSL's, whose message also says in which of its files.
  if (typeof innermost.reason === "string") return innermost.reason;
  return innermost.message || (innermost.code ?? String(innermost));
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The date is of when half of the time was over, and has no milliseconds. */
function ahead(date: string | null, elapsedMs: number): number | undefined {
  const there = Date.parse(date ?? "");
  return Number.isNaN(there) ? undefined : there + 500 - (Date.now() - elapsedMs / 2);
}

export function ms(milliseconds: number): string {
  return `${Math.floor(milliseconds)} ms`;
}
