/** What observations say of their trace, as it comes together from several places. */

import type { TraceAttributes } from "./core.js";

/** What `own` says, and what `outer` says beside it: of tags and metadata both. */
export function mergedTrace(outer: TraceAttributes | undefined, own: TraceAttributes): TraceAttributes {
  const merged = { ...outer, ...own };
  if (outer?.tags && own.tags) {
    merged.tags = [...new Set([...outer.tags, ...own.tags])];
  }
  if (outer?.metadata && own.metadata) {
    merged.metadata = { ...outer.metadata, ...own.metadata };
  }
  return merged;
}
