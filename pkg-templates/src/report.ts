/** Flush reports in words. */

import type { FlushReport } from "./core.js";

export function sentenceOf({ delivered, rejected, retained, dropped, lastStatus }: FlushReport): string {
  const counts = `${delivered} delivered, ${rejected.length} rejected, ${retained} retained, ${dropped} dropped`;
  return `langfuse-edge: flush: ${counts}${lastStatus === undefined ? "" : `: ${reasonOf(lastStatus)}`}`;
}

function reasonOf(status: number): string {
  if (status === 0) return "the server gives no answer";
  return `the server answers ${status}${status === 401 || status === 403 ? ": check the keys and the base URL" : ""}`;
}
