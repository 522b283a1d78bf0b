import { LangfuseSpanProcessor } from "@langfuse/otel";
import { setLangfuseTracerProvider, startObservation } from "@langfuse/tracing";
import { BasicTracerProvider } from "@opentelemetry/sdk-trace-base";

export default {
  async fetch(request, env, ctx) {
    const processor = new LangfuseSpanProcessor({ publicKey: env.LANGFUSE_PUBLIC_KEY, secretKey: env.LANGFUSE_SECRET_KEY, exportMode: "immediate" });
    setLangfuseTracerProvider(new BasicTracerProvider({ spanProcessors: [processor] }));
    startObservation("request").end();
    ctx.waitUntil(processor.forceFlush());
    return new Response("ok");
  },
};
