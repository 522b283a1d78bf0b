/** Trace ids, and trace contexts as they travel between services. */

/** The place of an observation in its trace. */
export interface SpanContext {
  /** 32 hex digits. */
  traceId: string;
  /** 16 hex digits. */
  spanId: string;
  /** Of OpenTelemetry's contexts, which can be given as they are. It is not looked at. */
  traceFlags?: number;
}

/**
 * A trace id, 32 hex digits: with a seed the beginning of its SHA-256, so that the same seed gives the same trace in every
 * Langfuse client; without one a random id.
 */
export async function createTraceId(seed?: string): Promise<string> {
  const bytes = seed
    ? new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(seed))).subarray(0, 16)
    : crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The `traceparent` header (W3C Trace Context) that makes another service continue below this observation. */
export function traceparentOf(observation: { readonly traceId: string; readonly id: string }): string {
  return `00-${observation.traceId}-${observation.id}-01`;
}

/** Reads a `traceparent` header; undefined when it is none, or of a version that ends all agreement. */
export function parseTraceparent(header: string | null | undefined): SpanContext | undefined {
  const match = /^\s*(?!ff)[\da-f]{2}-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-[\da-f]{2}(?:-.*)?\s*$/.exec(header ?? "");
  return match?.[1] && match[2] ? { traceId: match[1], spanId: match[2] } : undefined;
}
