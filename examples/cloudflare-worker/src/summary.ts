import type { Decision } from "./workflow";

/** What has become of a message, in a line. */
export function summary(decision: Decision): string {
  const failed = decision.failedTools.length > 0 ? `, failed: ${decision.failedTools.join(", ")}` : "";
  const tools = `${decision.tools} tool step${decision.tools === 1 ? "" : "s"}`;
  return `${decision.category}, ${tools}${failed}, ${decision.outcome}`;
}
