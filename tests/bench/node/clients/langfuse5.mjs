// Langfuse's own client, version 5.
import { LogLevel, configureGlobalLogger } from "@langfuse/core";
import { LangfuseSpanProcessor } from "@langfuse/otel";
import { setLangfuseTracerProvider, startObservation } from "@langfuse/tracing";
import { BasicTracerProvider } from "@opentelemetry/sdk-trace-base";

import { MODEL, USAGE } from "../payload.mjs";

export function start({ url, publicKey, secretKey, flushAt }, exportMode = "batched") {
  configureGlobalLogger({ level: LogLevel.ERROR });
  const processor = new LangfuseSpanProcessor({ baseUrl: url, publicKey, secretKey, flushAt, exportMode });
  setLangfuseTracerProvider(new BasicTracerProvider({ spanProcessors: [processor] }));
  return {
    trace({ messages, reply }) {
      const root = startObservation("request");
      const generation = root.startObservation("answer", { model: MODEL, input: messages }, { asType: "generation" });
      generation.update({ output: reply, usageDetails: USAGE }).end();
      root.end();
    },
    generation: (input) => startObservation("event", { model: MODEL, input }, { asType: "generation" }).end(),
    flush: () => processor.forceFlush(),
  };
}
