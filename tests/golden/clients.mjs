// Langfuse's own client and ours, each driven by the same names, at a receiver.
import { LangfuseClient } from "@langfuse/client";
import { LogLevel, configureGlobalLogger } from "@langfuse/core";
import { LangfuseSpanProcessor } from "@langfuse/otel";
import * as official from "@langfuse/tracing";
import { context } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { BasicTracerProvider } from "@opentelemetry/sdk-trace-base";
import * as edge from "langfuse-edge";

context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
// What both leave out they say on the console, which is for other tests to look at.
configureGlobalLogger({ level: LogLevel.ERROR });

/** What programs are written in. */
const VOCABULARY = [
  "startObservation",
  "startActiveObservation",
  "observe",
  "updateActiveObservation",
  "propagateAttributes",
  "setActiveTraceAsPublic",
  "getActiveTraceId",
  "getActiveSpanId",
  "createTraceId",
];

const vocabularyOf = (sdk, score) => ({ ...Object.fromEntries(VOCABULARY.map((name) => [name, sdk[name]])), score });

/** `run` gets the vocabulary; what it recorded has arrived when the promise is fulfilled with what it gives. */
export async function throughOfficial(receiver, options, run) {
  const processor = new LangfuseSpanProcessor({ ...receiver.options, ...options });
  const provider = new BasicTracerProvider({ spanProcessors: [processor] });
  official.setLangfuseTracerProvider(provider);
  const { score } = new LangfuseClient(receiver.options);
  const result = await run(vocabularyOf(official, score));
  await score.flush();
  await provider.shutdown();
  return result;
}

/** As `throughOfficial`. */
export async function throughOurs(receiver, options, run) {
  const langfuse = new edge.Langfuse({ ...receiver.options, ...options });
  edge.setLangfuse(langfuse);
  const result = await run(vocabularyOf(edge, langfuse.score));
  const report = await langfuse.shutdown();
  if (!report.ok) throw new Error(JSON.stringify(report));
  return result;
}
