// What nobody can do without: `JSON.stringify` of the same values, and one `fetch` of that.
import { MODEL, USAGE } from "../payload.mjs";

export function start({ url }) {
  let traces = [];
  return {
    trace({ messages, reply }) {
      const traceId = crypto.randomUUID();
      traces.push({ id: crypto.randomUUID(), traceId, name: "request", start: Date.now(), end: Date.now() });
      traces.push({ id: crypto.randomUUID(), traceId, name: "answer", model: MODEL, input: messages, output: reply, usageDetails: USAGE });
    },
    async flush() {
      const body = JSON.stringify(traces);
      traces = [];
      const response = await fetch(`${url}/floor`, { method: "POST", headers: { "content-type": "application/json" }, body });
      await response.text();
    },
  };
}
