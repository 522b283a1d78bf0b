// LangSmith's.
import { Client, RunTree } from "langsmith";

import { MODEL, USAGE } from "../payload.mjs";

export function start({ url }) {
  const client = new Client({ apiUrl: url, apiKey: "lsv2_bench" });
  return {
    trace({ messages, reply }) {
      const root = new RunTree({ name: "request", run_type: "chain", client, tracingEnabled: true, project_name: "bench" });
      void root.postRun();
      const metadata = { ls_model_name: MODEL };
      const generation = root.createChild({ name: "answer", run_type: "llm", inputs: { messages }, extra: { metadata } });
      void generation.postRun();
      const usage_metadata = { input_tokens: USAGE.input, output_tokens: USAGE.output, total_tokens: USAGE.input + USAGE.output };
      void generation.end({ reply, usage_metadata }).then(() => generation.patchRun());
      void root.end().then(() => root.patchRun());
    },
    async flush() {
      // What `end` goes on with.
      await new Promise(setImmediate);
      await client.awaitPendingTraceBatches();
    },
  };
}
