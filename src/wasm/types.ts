/** What an observation stands for. */
export type ObservationType =
  | "span" | "generation" | "event" | "agent" | "tool" | "chain" | "retriever" | "evaluator" | "embedding" | "guardrail";

/** How serious an observation is. */
export type ObservationLevel = "DEBUG" | "DEFAULT" | "WARNING" | "ERROR";

/** What an observation says. Everything is optional; an update replaces what it names and merges `metadata` by name. */
export interface ObservationAttributes {
  /** What went in: a string is kept as it is, anything else as JSON. At most 1 MiB, longer text is cut and says so. */
  input?: unknown;
  /** What came out: as `input`. */
  output?: unknown;
  /** Anything else, by name; each value at most 1 MiB. */
  metadata?: Record<string, unknown>;
  /** Default: DEFAULT. */
  level?: ObservationLevel;
  /** A sentence to go with the level. */
  statusMessage?: string;
  /** The version of the code. */
  version?: string;
  /** The environment, when it is not the client's. */
  environment?: string;
  /** The model's name. */
  model?: string;
  /** The model's parameters. */
  modelParameters?: Record<string, string | number>;
  /** Token counts, as `{ input, output, total }` with any further buckets, or OpenAI's usage object. */
  usageDetails?: Record<string, unknown>;
  /** Costs in US dollars, as `{ input, output, total }`. Negative or infinite ones are left out. */
  costDetails?: Record<string, number>;
  /** When the first token came: a `Date`, or milliseconds since 1970. */
  completionStartTime?: Date | number;
  /** The Langfuse prompt a generation was made with. A fallback is not linked. */
  prompt?: { name: string; version: number | string; isFallback?: boolean };
}

/** How an observation starts. */
export interface StartObservationOptions {
  /** Default: span. An `event` ends when it starts. */
  asType?: ObservationType;
  /** When it began, if not now: a `Date`, or milliseconds since 1970. */
  startTime?: Date | number;
  /** The observation above it, when that is in another process or was started by another client. */
  parentSpanContext?: { traceId: string; spanId: string };
}

/** Options of a client. What is absent comes from `LANGFUSE_*` variables. */
export interface LangfuseOptions {
  /** The project's public key (`LANGFUSE_PUBLIC_KEY`). */
  publicKey?: string;
  /** The project's secret key (`LANGFUSE_SECRET_KEY`). */
  secretKey?: string;
  /** The server (`LANGFUSE_BASE_URL`). Default: https://cloud.langfuse.com */
  baseUrl?: string;
  /** `false` makes every call a no-op (`LANGFUSE_TRACING_ENABLED`). Default: true. */
  enabled?: boolean;
  /** The environment the observations belong to (`LANGFUSE_TRACING_ENVIRONMENT`). */
  environment?: string;
  /** The release of the program (`LANGFUSE_RELEASE`). */
  release?: string;
  /** The share of traces that is kept, from 0 to 1 (`LANGFUSE_SAMPLE_RATE`). Default: 1. */
  sampleRate?: number;
  /** Seconds one attempt to send may take (`LANGFUSE_TIMEOUT`). Default: 10. */
  timeout?: number;
}

/** Options of a flush. */
export interface FlushOptions {
  /** Milliseconds until the promise is fulfilled whatever the server does. Default: 25,000. */
  timeoutMs?: number;
}

/**
 * What became of every record that was recorded before a flush. Each of them is in exactly one of `delivered`,
 * `rejected`, `retained` and `dropped`. Reports of overlapping flushes may count the same record twice.
 *
 * Of a flush that a trap of the module below has lost, only that loss is known: what it had delivered before is not in
 * its report, and what was in flight may have arrived.
 */
export interface FlushReport {
  /** Everything was delivered, as far as is known. */
  ok: boolean;
  /** Records the server acknowledged. */
  delivered: number;
  /** Records the server refused for good. */
  rejected: { id: string; status: number; message: string }[];
  /** Records still in memory when the deadline came; the next flush sends them. */
  retained: number;
  /** Records given up by this client. */
  dropped: number;
  /** `dropped` by reason: `queue_full`, `expired`, `shutdown`, or `state_lost` after a trap of the module below. */
  dropReasons: Record<string, number>;
  /** Records accepted by a durable overflow queue. */
  handedOver: number;
  /** Requests of this flush that got an answer. */
  requests: number;
  /** Requests this flush started. */
  attempts: number;
  /** Attempts that ended without an answer after the body may have arrived. */
  ambiguous: number;
  /** Body bytes sent. */
  bytes: number;
  /** Milliseconds from the call to the report. */
  durationMs: number;
}
