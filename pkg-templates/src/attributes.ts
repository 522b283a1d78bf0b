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
  // What is not replaced is read where it is.
  const texts = Object.create(attributes) as Record<string, unknown>;
  for (const name of ["input", "output", "statusMessage"] as const) {
    texts[name] = masked(read(attributes, name), mask);
  }
  texts["metadata"] = metadataAsText(read(attributes, "metadata"), mask);
  return texts;
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
  if (typeof metadata !== "object" || metadata === null || Array.isArray(metadata)) {
    return masked(metadata, mask);
  }
  const texts = Object.create(null) as Record<string, unknown>;
  for (const name of Object.keys(metadata)) {
    texts[name] = masked(read(metadata, name), mask);
  }
  return texts;
}

function masked(value: unknown, mask: Mask | undefined): string | undefined {
  const text = textOf(value);
  return text === undefined ? undefined : maskedBy(mask, text);
}

function read(object: object, name: string): unknown {
  try {
    return (object as Record<string, unknown>)[name];
  } catch {
    return undefined;
  }
}
