// A program for version 3 of Langfuse's client compiles as it is, but for the name it imports from; what is not there does not.
import DefaultLangfuse, {
  Langfuse,
  type LangfuseEventClient,
  type LangfuseGenerationClient,
  type LangfuseSpanClient,
  type LangfuseTraceClient,
} from "langfuse-edge/v3";

const langfuse = new Langfuse({
  publicKey: "pk-lf-…",
  secretKey: "sk-lf-…",
  baseUrl: "https://cloud.langfuse.com",
  flushAt: 15,
  flushInterval: 10_000,
  requestTimeout: 5_000,
  additionalHeaders: { "x-tenant": "acme" },
  release: "v1",
  environment: "production",
  enabled: true,
  sampleRate: 0.5,
  mask: ({ data }) => (typeof data === "string" ? data.replace("secret", "***") : data),
});
new DefaultLangfuse();
langfuse.debug();
langfuse.debug(false);
const stop: () => void = langfuse.on("error", (error) => console.error(error.message));
langfuse.on("flush", () => stop());

const trace: LangfuseTraceClient = langfuse.trace({
  id: "my-id",
  timestamp: new Date(),
  name: "chat",
  userId: "user",
  sessionId: null,
  input: [{ role: "user" }],
  output: { any: 1 },
  metadata: { plan: "pro" },
  tags: ["a"],
  version: "1",
  additionalHeaders: { "x-tenant": "acme" },
  release: "v1",
  environment: "production",
  public: true,
});
langfuse.trace();
const span: LangfuseSpanClient = trace.update({ output: "x" }).span({ name: "span", startTime: new Date(), endTime: null });
const generation: LangfuseGenerationClient = span.generation({
  name: "generation",
  model: "gpt-4o",
  modelParameters: { temperature: 0.5, stop: ["END"], stream: true, user: null },
  usage: { promptTokens: 1, completionTokens: 2, totalTokens: 3 },
  usageDetails: { input: 1, output: 2 },
  costDetails: { input: 0.1 },
  completionStartTime: new Date(),
  level: "WARNING",
  statusMessage: "slow",
});
generation
  .update({ usage: { input: 1, output: 2, unit: "TOKENS", inputCost: 0.1 } })
  .end({ output: "y" })
  .score({ name: "quality", value: 1 });
const event: LangfuseEventClient = generation.event({ name: "event", level: "DEBUG" });
event.score({ name: "quality", value: "good", comment: "yes" });
langfuse.span({ traceId: trace.id, parentObservationId: span.observationId, name: "by id" }).end();
langfuse.generation({ name: "alone", traceId: generation.traceId, id: "mine" }).end();
langfuse.event({ name: "alone" });
langfuse.score({ traceId: trace.id, observationId: generation.id, name: "quality", value: 1, dataType: "BOOLEAN" });
langfuse.flush((error) => console.error(error));
const flushed: Promise<unknown> = langfuse.flushAsync();
await Promise.all([flushed, langfuse.shutdownAsync()]);
langfuse.shutdown();

// @ts-expect-error: a trace is not ended.
trace.end();
// @ts-expect-error: an event has ended.
event.update({ output: 1 });
// @ts-expect-error: a span has no model.
trace.span({ name: "span", model: "gpt-4o" });
// @ts-expect-error: there is no such level.
trace.span({ name: "span", level: "FATAL" });
// @ts-expect-error: a score has a value.
trace.score({ name: "quality" });
