// Langfuse's own client, version 5.
import { LogLevel, configureGlobalLogger } from "@langfuse/core";
import { LangfuseSpanProcessor } from "@langfuse/otel";
import { setLangfuseTracerProvider, startObservation } from "@langfuse/tracing";
import { BasicTracerProvider } from "@opentelemetry/sdk-trace-base";

import { MODEL, USAGE } from "../payload.mjs";

export function start({ url, publicKey, secretKey }, exportMode = "batched") {
  configureGlobalLogger({ level: LogLevel.ERROR });
  const processor = new LangfuseSpanProcessor({ baseUrl: url, publicKey, secretKey, exportMode });
  setLangfuseTracerProvider(new BasicTracerProvider({ spanProcessors: [processor] }));
  return {
    trace({ messages, reply }) {
      const root = startObservation("request");
      const generation = root.startObservation("answer", { model: MODEL, input: messages }, { asType: "generation" });
      generation.update({ output: reply, usageDetails: USAGE }).end();
      root.end();
    },
    flush: () => processor.forceFlush(),
  };
}
