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
  // What is not replaced is read where it is.
  return Object.create(attributes, {
    input: { value: masked(read(attributes, "input"), mask) },
    output: { value: masked(read(attributes, "output"), mask) },
    statusMessage: { value: typeof statusMessage === "string" ? maskedBy(mask, statusMessage) : undefined },
    metadata: { value: metadataAsText(read(attributes, "metadata"), mask) },
  }) as ObservationAttributes;
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

function read(object: object, name: string): unknown {
  try {
    return (object as Record<string, unknown>)[name];
  } catch {
    return undefined;
  }
}
