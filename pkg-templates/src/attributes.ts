/** Attributes as the texts that are recorded, masked. */

import type { ObservationAttributes, TraceAttributes } from "./core.js";
import { maskedBy, type Mask } from "./mask.js";
import { textOf } from "./text.js";

type Attributes = ObservationAttributes | null | undefined;

/** The attributes, with texts in the place of what is masked and of what may be anything. A property that throws is absent. */
export function attributesAsText(attributes: Attributes, mask: Mask | undefined): Attributes {
  if (typeof attributes !== "object" || attributes === null) {
    return attributes;
  }
  const statusMessage = read(attributes, "statusMessage");
  // Property by property: all are of one shape then, and nothing is slower to make than a copy with a few others.
  return {
    input: masked(read(attributes, "input"), mask),
    output: masked(read(attributes, "output"), mask),
    metadata: metadataAsText(read(attributes, "metadata"), mask),
    statusMessage: typeof statusMessage === "string" ? maskedBy(mask, statusMessage) : undefined,
    level: read(attributes, "level"),
    version: read(attributes, "version"),
    environment: read(attributes, "environment"),
    model: read(attributes, "model"),
    modelParameters: read(attributes, "modelParameters"),
    usageDetails: read(attributes, "usageDetails"),
    costDetails: read(attributes, "costDetails"),
    completionStartTime: read(attributes, "completionStartTime"),
    prompt: read(attributes, "prompt"),
  } satisfies Record<keyof ObservationAttributes, unknown> as ObservationAttributes;
}

/** The same for what is said of a trace. */
export function traceAsText(trace: TraceAttributes, mask: Mask | undefined): TraceAttributes {
  const { metadata, tags } = trace;
  return {
    ...trace,
    ...(metadata && { metadata: metadataAsText(metadata, mask) as Record<string, unknown> }),
    ...(tags && { tags: tags.map((tag) => maskedBy(mask, tag)) }),
  };
}

/** One text a name, when it has names. */
function metadataAsText(metadata: unknown, mask: Mask | undefined): unknown {
  try {
    if (typeof metadata === "object" && metadata !== null && !Array.isArray(metadata)) {
      const texts = Object.create(null) as Record<string, unknown>;
      for (const name of Object.keys(metadata)) {
        texts[name] = masked(read(metadata, name), mask);
      }
      return texts;
    }
  } catch {
    // A proxy that does not say what names it has.
  }
  return masked(metadata, mask);
}

function masked(value: unknown, mask: Mask | undefined): string | undefined {
  const text = textOf(value);
  return text === undefined ? undefined : maskedBy(mask, text);
}

/** A property; undefined when there is none, or when it throws. */
export function read(object: object | null | undefined, name: string): unknown {
  try {
    return (object as Record<string, unknown> | null | undefined)?.[name];
  } catch {
    return undefined;
  }
}
