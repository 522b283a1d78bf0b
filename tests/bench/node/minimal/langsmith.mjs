import { Client, RunTree } from "langsmith";

export default {
  async fetch(request, env, ctx) {
    const client = new Client({ apiKey: env.LANGSMITH_API_KEY });
    const run = new RunTree({ name: "request", run_type: "chain", client, tracingEnabled: true });
    ctx.waitUntil(run.postRun().then(() => client.awaitPendingTraceBatches()));
    return new Response("ok");
  },
};
