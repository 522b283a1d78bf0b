// What nobody can do without: `JSON.stringify` of the same values, and one `fetch` of that.
import { MODEL, USAGE } from "../payload.mjs";

const init = (body) => ({ method: "POST", headers: { "content-type": "application/json" }, body });

export function start({ url }, post = async (url, body) => (await fetch(url, init(body))).text()) {
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
      await post(`${url}/floor`, body);
    },
  };
}
