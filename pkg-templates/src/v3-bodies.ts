/** What programs for version 3 of Langfuse's client say, and what the core takes of it. */

import type {
  ObservationAttributes,
  ObservationLevel,
  ScoreBody as CoreScoreBody,
  ScoreDataType,
  TraceAttributes,
} from "./core.js";
import { sha256 } from "./sha256.js";
import { readable } from "./text.js";

/** A mask of version 3: takes an input or an output as it was given, and gives what is recorded instead. */
export type MaskFunction = (params: { data: any }) => any;

/** What a trace says. */
export interface TraceBody {
  /** Any text. What is not 32 hex digits becomes the beginning of its SHA-256, as by `createTraceId`. Default: a random id. */
  id?: string | null;
  /** When it began. Default: now. */
  timestamp?: Date | null;
  name?: string | null;
  userId?: string | null;
  sessionId?: string | null;
  input?: any;
  output?: any;
  /** Merged by name. */
  metadata?: any;
  /** Added to those it has. */
  tags?: string[] | null;
  version?: string | null;
  /** Default: the client's. */
  release?: string | null;
  /** Default: the client's. */
  environment?: string | null;
  /** Whether everybody who has its URL may see it, which cannot be taken back. */
  public?: boolean | null;
}

/** What an event says. */
export interface EventBody {
  /** Any text, unique in the project. What is not 16 hex digits becomes the beginning of its SHA-256. Default: a random id. */
  id?: string | null;
  /** Default: a new trace of the same name. */
  traceId?: string | null;
  /** Default: directly below its trace. */
  parentObservationId?: string | null;
  /** Kept as it is when the observation starts. */
  name?: string | null;
  /** Kept as it is when the observation starts. Default: now. */
  startTime?: Date | null;
  input?: any;
  output?: any;
  /** Merged by name. */
  metadata?: any;
  level?: ObservationLevel;
  statusMessage?: string | null;
  version?: string | null;
  environment?: string | null;
}

/** What a span says. */
export interface SpanBody extends EventBody {
  endTime?: Date | null;
}

/** Token counts of older programs, with costs in US dollars. */
export type Usage =
  | {
      input?: number | null;
      output?: number | null;
      total?: number | null;
      unit?: "CHARACTERS" | "TOKENS" | "MILLISECONDS" | "SECONDS" | "IMAGES" | "REQUESTS" | null;
      inputCost?: number | null;
      outputCost?: number | null;
      totalCost?: number | null;
    }
  | { promptTokens?: number | null; completionTokens?: number | null; totalTokens?: number | null };

/** What a generation says. */
export interface GenerationBody extends SpanBody {
  model?: string | null;
  modelParameters?: Record<string, string | number | boolean | string[] | null> | null;
  usage?: Usage | null;
  /** Beats `usage`. */
  usageDetails?: Record<string, unknown> | null;
  /** In US dollars. Beats the costs of `usage`. */
  costDetails?: Record<string, number> | null;
  completionStartTime?: Date | null;
  /** The Langfuse prompt it was made with. A fallback is not linked. */
  prompt?: { name: string; version: number; isFallback?: boolean };
}

/** What a score says, and what it is of. */
export interface ScoreBody {
  id?: string | null;
  traceId?: string | null;
  observationId?: string | null;
  sessionId?: string | null;
  datasetRunId?: string | null;
  name: string;
  value: number | string;
  dataType?: ScoreDataType;
  comment?: string | null;
  metadata?: any;
  configId?: string | null;
  environment?: string | null;
}

/** What a caller has called a trace, in its metadata. */
const EXTERNAL_TRACE_ID = "externalTraceId";
/** The same for an observation. */
const EXTERNAL_ID = "externalId";

/** The id that Langfuse knows a trace by. */
export const traceIdOf = (id: string): string => idOf(id, 32);

/** The id that Langfuse knows an observation by. */
export const observationIdOf = (id: string): string => idOf(id, 16);

function idOf(id: string, digits: number): string {
  const lower = String(id).toLowerCase();
  const isOne = lower.length === digits && /^[\da-f]*[1-9a-f][\da-f]*$/.test(lower);
  return isOne ? lower : sha256(String(id)).slice(0, digits);
}

/** The place of the root of a trace that began elsewhere: always the same one, where nothing is. */
export const rootElsewhere = (traceId: string): string => observationIdOf(traceId.slice(0, 16));

/** A time, also as the text or the number that version 3 would have sent. */
export function timeOf(time: unknown): Date | undefined {
  const isOne = time instanceof Date || typeof time === "string" || typeof time === "number";
  return isOne ? new Date(time) : undefined;
}

/** What an observation says; `given` is the id the caller has chosen. */
export function attributesOf(
  body: GenerationBody,
  mask: MaskFunction | undefined,
  given?: string | null,
): ObservationAttributes {
  const { usage, usageDetails, costDetails } = body;
  const counted = usage ? countsOf(usage as Record<string, unknown>) : {};
  const { prompt = promptNamed(body as Record<string, unknown>) } = body;
  const attributes: Record<string, unknown> = {
    input: masked(body.input, mask),
    output: masked(body.output, mask),
    metadata: metadataOf(body.metadata, {
      ...(given && observationIdOf(given) !== given && { [EXTERNAL_ID]: given }),
      ...(counted.unit ? { usageUnit: counted.unit } : {}),
    }),
    level: body.level,
    statusMessage: body.statusMessage,
    version: body.version,
    environment: body.environment,
    model: body.model,
    modelParameters: body.modelParameters && withoutNulls(body.modelParameters),
    usageDetails: usageDetails ?? counted.usageDetails,
    costDetails: costDetails ?? counted.costDetails,
    completionStartTime: timeOf(body.completionStartTime),
    prompt,
  };
  return withoutNulls(attributes) as ObservationAttributes;
}

/** What all observations of a trace say; `own` are names of metadata that an observation gives a meaning of its own. */
export function traceAttributesOf(
  body: TraceBody,
  external: string | undefined,
  own: ReadonlySet<string> | undefined,
): TraceAttributes {
  const { name: traceName, userId, sessionId, tags, version, release, environment, public: isPublic } = body;
  const metadata = metadataOf(body.metadata, external === undefined ? {} : { [EXTERNAL_TRACE_ID]: external });
  const attributes = {
    ...{ traceName, userId, sessionId, version, release, environment },
    public: isPublic,
    tags: listOf(tags),
    metadata: metadata && Object.fromEntries(Object.entries(metadata).filter(([name]) => !own?.has(name))),
  };
  return withoutNulls(attributes) as TraceAttributes;
}

/** What a trace says once it has been told more. */
export function merged(known: TraceBody, newer: TraceBody): TraceBody {
  const body: TraceBody = { ...known, ...withoutNulls(newer) };
  if (known.metadata && newer.metadata) {
    body.metadata = { ...metadataOf(known.metadata, {}), ...metadataOf(newer.metadata, {}) };
  }
  if (known.tags && newer.tags) {
    body.tags = [...new Set([...(listOf(known.tags) ?? []), ...(listOf(newer.tags) ?? [])])];
  }
  return body;
}

/** A score as the core takes it. */
export function scoreOf(body: ScoreBody): CoreScoreBody {
  const { traceId, observationId } = body;
  return {
    ...(withoutNulls(body) as CoreScoreBody),
    ...(traceId && { traceId: traceIdOf(traceId) }),
    ...(observationId && { observationId: observationIdOf(observationId) }),
  };
}

/** Metadata by name, and what goes with it. */
function metadataOf(metadata: unknown, more: object): Record<string, unknown> | undefined {
  if (metadata === undefined || metadata === null) {
    return Object.keys(more).length ? { ...more } : undefined;
  }
  if (typeof metadata !== "object" || Array.isArray(metadata)) {
    return { value: metadata, ...more };
  }
  const copy: Record<string, unknown> = {};
  try {
    for (const name of Object.keys(metadata)) {
      copy[name] = readable(() => (metadata as Record<string, unknown>)[name]);
    }
  } catch {
    // A proxy that does not say what names it has.
  }
  return { ...copy, ...more };
}

/** The names of metadata. */
export const namesOf = (metadata: unknown): Set<string> => new Set(Object.keys(metadataOf(metadata, {}) ?? {}));

/** A list of tags, or one by itself. */
const listOf = (tags: unknown): string[] | undefined =>
  Array.isArray(tags) ? (tags as string[]) : typeof tags === "string" ? [tags] : undefined;

/** Whether it says anything but what it is about. */
export const saysAnything = ({ id: _, ...body }: { id?: unknown }): boolean => Object.keys(withoutNulls(body)).length > 0;

/** In version 3, null is as good as absent. */
function withoutNulls<Body extends object>(body: Body): Body {
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined && value !== null)) as Body;
}

/** What is recorded in the place of an input or an output. */
export function masked(value: unknown, mask: MaskFunction | undefined): unknown {
  if (!mask || value === undefined || value === null) {
    return value;
  }
  try {
    return mask({ data: value });
  } catch {
    return "<fully masked due to failed mask function>";
  }
}

interface Counted {
  usageDetails?: Record<string, unknown>;
  costDetails?: Record<string, number>;
  /** When it is not tokens. */
  unit?: unknown;
}

function countsOf(usage: Record<string, unknown>): Counted {
  const { promptTokens, completionTokens, totalTokens, unit, ...longer } = usage;
  const { input, output, total, inputCost, outputCost, totalCost, ...others } = longer;
  const usageDetails = withoutNulls({
    // OpenAI's own names, which Langfuse reads itself.
    ...others,
    input: input ?? promptTokens,
    output: output ?? completionTokens,
    total: total ?? totalTokens,
  });
  const costDetails = withoutNulls({ input: inputCost, output: outputCost, total: totalCost }) as Record<string, number>;
  return {
    ...(Object.keys(usageDetails).length && { usageDetails }),
    ...(Object.keys(costDetails).length && { costDetails }),
    ...(unit !== "TOKENS" && { unit }),
  };
}

/** As integrations say it. */
function promptNamed({ promptName, promptVersion }: Record<string, unknown>): GenerationBody["prompt"] {
  return promptName ? { name: promptName as string, version: promptVersion as number } : undefined;
}
