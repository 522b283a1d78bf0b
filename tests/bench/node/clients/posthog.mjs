// PostHog's, with the events of its LLM analytics.
import { PostHog } from "posthog-node";

import { MODEL, USAGE } from "../payload.mjs";

export function start({ url }) {
  const posthog = new PostHog("phc_bench", { host: url });
  return {
    trace({ messages, reply }) {
      const ids = { $ai_trace_id: crypto.randomUUID(), $ai_span_id: crypto.randomUUID() };
      const properties = { ...ids, $ai_parent_id: ids.$ai_trace_id, $ai_span_name: "answer", $ai_model: MODEL, $ai_input: messages };
      Object.assign(properties, { $ai_output_choices: reply, $ai_input_tokens: USAGE.input, $ai_output_tokens: USAGE.output });
      posthog.capture({ distinctId: "bench", event: "$ai_generation", properties });
      posthog.capture({ distinctId: "bench", event: "$ai_trace", properties: { $ai_trace_id: ids.$ai_trace_id, $ai_span_name: "request" } });
    },
    flush: () => posthog.flush(),
  };
}
