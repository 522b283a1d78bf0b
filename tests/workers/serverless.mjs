// Functions on other hosts, each with the same functions for a scenario as the Workers of host.mjs.
import { AsyncLocalStorage } from "node:async_hooks";
import { fileURLToPath } from "node:url";

import { EdgeRuntime } from "edge-runtime";
import * as esbuild from "esbuild";

import { startEdgeFunction } from "../js/support/edge-runtime.mjs";
import { startLambda } from "../js/support/lambda.mjs";
import { startReceiver } from "../js/support/receiver.mjs";
import { until } from "../js/support/until.mjs";

async function startHost(start) {
  const cleanups = [];
  const t = { after: (cleanup) => cleanups.push(cleanup) };
  const receiver = await startReceiver();
  t.after(() => receiver.stop("SIGKILL"));
  const delays = [];
  const { visit, ...more } = await start(t, receiver);
  return {
    receiver,
    delays,
    /** What the traced function answers. The plain one is asked beside, for the time that it takes. */
    async visit(question) {
      const [plain, traced] = [await timed(() => visit(question, false)), await timed(() => visit(question, true))];
      delays.push(traced.ms - plain.ms);
      return traced.answer;
    },
    arrived: (rows, ms) => until(async () => (await receiver.state()).rows >= rows, ms),
    complaints: () => [],
    async stop() {
      for (const cleanup of cleanups) await cleanup();
    },
    ...more,
  };
}

async function timed(visit) {
  const begun = performance.now();
  const answer = await visit();
  return { answer, ms: performance.now() - begun };
}

/** AWS Lambda, which freezes a function when it has answered. The plain function is the same with tracing disabled. */
export const startLambdaHost = () =>
  startHost(async (t, receiver) => {
    const [traced, plain] = await Promise.all([startLambda(t, receiver), startLambda(t, receiver, { LANGFUSE_TRACING_ENABLED: "false" })]);
    return { visit: async (event, isTraced) => (await (isTraced ? traced : plain).invoke(event)).body };
  });

/** Vercel's Edge runtime with the context that Vercel gives to each request. */
export const startVercelHost = () =>
  startHost(async (t, receiver) => {
    const contexts = new AsyncLocalStorage();
    const entry = fileURLToPath(new URL("workers/edge.mjs", import.meta.url));
    const runtime = await startEdgeFunction({ esbuild, EdgeRuntime }, entry, {
      LANGFUSE_OPTIONS: { ...receiver.options, timeout: 1 },
      [Symbol.for("@vercel/request-context")]: { get: () => contexts.getStore() },
    });
    const promises = [];
    const visit = async (path, isTraced) => {
      const context = { waitUntil: (promise) => promises.push(promise) };
      const response = await contexts.run(context, () => runtime.dispatchFetch(`http://${isTraced ? "traced" : "plain"}/${path}`));
      return response.text();
    };
    return { visit, /** Until Vercel would freeze the function. */ settled: () => Promise.all(promises) };
  });
