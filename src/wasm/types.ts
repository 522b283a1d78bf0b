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
  usageDetails?: Record<string, number> | OpenAIUsage;
  /** Costs in US dollars, as `{ input, output, total }`. Negative or infinite ones are left out. */
  costDetails?: Record<string, number>;
  /** When the first token came: a `Date`, or milliseconds since 1970. */
  completionStartTime?: Date | number;
  /** The Langfuse prompt a generation was made with. A fallback is not linked. */
  prompt?: { name: string; version: number | string; isFallback?: boolean };
}

/** Token counts as OpenAI's chat completions and responses have them. */
export type OpenAIUsage =
  | {
      prompt_tokens: number;
      completion_tokens: number;
      total_tokens: number;
      prompt_tokens_details?: object | null;
      completion_tokens_details?: object | null;
    }
  | {
      input_tokens: number;
      output_tokens: number;
      total_tokens: number;
      input_tokens_details?: object | null;
      output_tokens_details?: object | null;
    };

/** What all observations of a trace say. */
export interface TraceAttributes {
  /** The trace's name. */
  traceName?: string;
  /** The user it belongs to. */
  userId?: string;
  /** The session it belongs to. */
  sessionId?: string;
  /** Its tags. */
  tags?: readonly string[];
  /** Anything else, by name. */
  metadata?: Record<string, unknown>;
  /** The version of the code, of observations that do not say it themselves. */
  version?: string;
  /** The environment, of observations that do not say it themselves. */
  environment?: string;
  /** The release, when it is not the client's. */
  release?: string;
  /** Whether everybody who has its URL may see it, which cannot be taken back. */
  public?: boolean;
  /** The Langfuse prompt its generations are made with. A fallback is not linked. */
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
  /** Its own ids, for whoever has to choose them; the trace must be that of the observation above. Default: new ones. */
  spanContext?: { traceId: string; spanId: string };
  /** What its trace says. Default: what the observation above it says, which this replaces as a whole. */
  trace?: TraceAttributes;
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
  /** Records that make a long-lived process send (`LANGFUSE_FLUSH_AT`). Default: 100. */
  flushAt?: number;
  /**
   * Seconds a record waits in a long-lived process before it is sent (`LANGFUSE_FLUSH_INTERVAL`); 0 for as long as it takes to
   * be `flushAt` records. Default: 5.
   */
  flushInterval?: number;
  /**
   * What becomes of records that may have arrived, as after a time-out (`LANGFUSE_AMBIGUOUS`): `retry` sends them again, with
   * the same ids and start times, which Langfuse merges; `give_up` drops them. Default: retry.
   */
  ambiguous?: "retry" | "give_up";
}

/** Options of a flush. */
export interface FlushOptions {
  /** Milliseconds until the promise is fulfilled whatever the server does. Default: 25,000. */
  timeoutMs?: number;
  /**
   * Ids of the traces to wait for. Other records travel along where there is room, but are not waited for, nor counted in
   * the report. Default: everything.
   */
  scope?: string | readonly string[];
  /**
   * Takes what cannot be delivered in time, an encoded body for a path of the server: a promise of `true` when it is kept
   * durably. At most 127,000 bytes at a time; the last 2 s of the flush are for this. Counted as `handedOver`.
   */
  overflow?: (path: string, body: Uint8Array) => Promise<boolean>;
}

/** What kind of value a score has. */
export type ScoreDataType = "NUMERIC" | "BOOLEAN" | "CATEGORICAL" | "TEXT" | "CORRECTION";

/** What a score says. */
export interface ScoreData {
  /**
   * A score of the same id and name replaces the one of the same day. Default: an id made of what the score says, so that
   * the same score, recorded again, is still one score.
   */
  id?: string;
  /** Its name, not empty. */
  name: string;
  /** A finite number, one of several names, or a truth value. */
  value: number | string | boolean;
  /** Default: NUMERIC for a number, CATEGORICAL for a string, BOOLEAN for a truth value. */
  dataType?: ScoreDataType;
  /** A sentence to go with it. */
  comment?: string;
  /** Anything else. */
  metadata?: unknown;
  /** The score config, by its id, that its value must agree with. */
  configId?: string;
  /** The annotation queue it belongs to, by its id. */
  queueId?: string;
  /** The environment, when it is not the client's. */
  environment?: string;
}

/** A score and what it is of: a trace or one of its observations, a session, or a run of a dataset. */
export interface ScoreBody extends ScoreData {
  /** 32 hex digits. */
  traceId?: string;
  /** 16 hex digits; needs `traceId`. */
  observationId?: string;
  /** The session, when there is no `traceId`. */
  sessionId?: string;
  /** The run of a dataset, when there is no `traceId`. */
  datasetRunId?: string;
}

/**
 * What became of every record that was recorded before a flush. Each of them is in exactly one of `delivered`,
 * `rejected`, `retained`, `dropped` and `handedOver`. Reports of overlapping flushes may count the same record twice.
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
  /**
   * Why a flush is not `ok`, when the server has not answered as it should since: the HTTP status of its last answer, 401 for wrong
   * keys; 0 when there was none, or one that a host does not show, such as a redirect.
   */
  lastStatus?: number;
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

/**
 * Totals since the client was made. Unlike flush reports they never count a record twice: `recorded` is the sum of
 * `delivered`, `rejected`, `dropped`, `handedOver`, `queued` and `leased`.
 */
export interface Stats {
  /** Records made. */
  recorded: number;
  /** Records the server acknowledged. */
  delivered: number;
  /** Records the server refused for good. */
  rejected: number;
  /** Records given up by this client. */
  dropped: number;
  /** Records accepted by a durable overflow queue. */
  handedOver: number;
  /** Records waiting now. */
  queued: number;
  /** Records in flight now. */
  leased: number;
  /** Bytes of the records waiting or in flight now. */
  bytes: number;
}
