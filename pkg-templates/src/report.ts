/** Flush reports in words. */

import type { FlushReport } from "./core.js";

export function sentenceOf({ delivered, rejected, retained, dropped }: FlushReport): string {
  return `langfuse-edge: flush: ${delivered} delivered, ${rejected.length} rejected, ${retained} retained, ${dropped} dropped`;
}
