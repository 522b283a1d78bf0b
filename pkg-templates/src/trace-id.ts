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

/** Of so many digits one call into the host makes the ids. */
const BLOCK = 4096;

let digits = "";

/** A random id of so many hex digits. */
export function randomId(length: 16 | 32): string {
  if (digits.length < length) {
    digits = randomDigits();
  }
  const id = digits.slice(0, length);
  digits = digits.slice(length);
  return id;
}

function randomDigits(): string {
  const bytes = new Uint8Array(BLOCK);
  try {
    crypto.getRandomValues(bytes);
  } catch {
    // Workers refuse their entropy outside of a request; an id made there needs only to be unlikely to come twice.
    bytes.forEach((_, index) => (bytes[index] = Math.random() * 256));
  }
  for (let index = 0; index < BLOCK; index++) {
    const digit = bytes[index]! & 15;
    bytes[index] = (digit < 10 ? 48 : 87) + digit; // ASCII
  }
  return new TextDecoder().decode(bytes);
}

/**
 * A trace id, 32 hex digits: with a seed the beginning of its SHA-256, so that the same seed gives the same trace in every
 * Langfuse client; without one a random id.
 */
export async function createTraceId(seed?: string): Promise<string> {
  if (!seed) {
    return randomId(32);
  }
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(seed))).subarray(0, 16);
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The `traceparent` header (W3C Trace Context) that makes another service continue below this observation. */
export function traceparentOf(observation: { readonly traceId: string; readonly id: string }): string {
  return `00-${observation.traceId}-${observation.id}-01`;
}

/** The place that is meant, in lower case; undefined when it cannot be one. */
export function contextOf(place: SpanContext | string | null | undefined): SpanContext | undefined {
  try {
    const header = typeof place === "string" ? place : place && `00-${place.traceId}-${place.spanId}-00`.toLowerCase();
    return parseTraceparent(header);
  } catch {
    return undefined;
  }
}

/** Reads a `traceparent` header; undefined when it is none, or of a version that ends all agreement. */
export function parseTraceparent(header: string | null | undefined): SpanContext | undefined {
  const match = /^\s*(?!ff)[\da-f]{2}-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-[\da-f]{2}(?:-.*)?\s*$/.exec(header ?? "");
  return match?.[1] && match[2] ? { traceId: match[1], spanId: match[2] } : undefined;
}
