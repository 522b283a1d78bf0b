/** The Langfuse client whose flush can be trusted, for every JavaScript host. */

export { Langfuse } from "./client.js";
export type { LangfuseOptions } from "./client.js";
export type {
  FlushOptions,
  FlushReport,
  ObservationAttributes,
  ObservationLevel,
  ObservationType,
  OpenAIUsage,
  ScoreBody,
  ScoreData,
  ScoreDataType,
  Stats,
  TraceAttributes,
} from "./core.js";
export type { WaitUntil } from "./hosts.js";
export { flushOnSignals } from "./lifecycle.js";
export type { SignalOptions } from "./lifecycle.js";
export { attachLlamaIndex, traceLLM } from "./llamaindex.js";
export type { AttachOptions, LlamaIndexLLM, LlamaIndexSettings, TraceLLMOptions } from "./llamaindex.js";
export { getLlmCallbackHandler, LlmCallbackHandler } from "./llm.js";
export type { LlmCallOptions } from "./llm.js";
export { log } from "./log.js";
export type { LogOptions } from "./log.js";
export type { LogLevel } from "./log-event.js";
export { maskPatterns } from "./mask.js";
export type { Mask, MaskPattern } from "./mask.js";
export { addFlushHandler, flushLangfuse, getLangfuse, setLangfuse } from "./observability.js";
export type { FlushHandler } from "./observability.js";
export { Observation } from "./observation.js";
export type { AttributesOf, SpanAttributes, StartObservationOptions } from "./observation.js";
export {
  getActiveSpanId,
  getActiveTraceId,
  observe,
  setActiveTraceAsPublic,
  startActiveObservation,
  startObservation,
  updateActiveObservation,
} from "./observe.js";
export type { ActiveObservationOptions, ObserveOptions } from "./observe.js";
export { propagateAttributes } from "./propagate.js";
export type { PropagatedAttributes, PropagateOptions } from "./propagate.js";
export type { Scored, Scores } from "./score.js";
export { isEnabled, status } from "./status.js";
export type { Status } from "./status.js";
export { createTraceId, parseTraceparent } from "./trace-id.js";
export type { SpanContext } from "./trace-id.js";
export { langfuseQueueConsumer } from "./overflow.js";
export type { OverflowQueue, QueueConsumerOptions, QueueMessage } from "./overflow.js";
export { withLangfuseLambda, withLangfuseRequests } from "./serverless.js";
export type { LambdaContext, RequestHandlerOptions, ServerlessOptions } from "./serverless.js";
export { withLangfuse } from "./worker.js";
export type { WithLangfuseOptions } from "./worker.js";
export { traceWorkflow } from "./traced-workflow.js";
export type { LlamaIndexAgent, LlamaIndexWorkflow, RunsWorkflow, TraceWorkflowOptions, WorkflowEventType } from "./traced-workflow.js";
export { runWorkflowWithFlush, step, workflowSteps } from "./workflow.js";
export type { StepFlushOptions, StepOptions, Workflow, WorkflowStepsOptions } from "./workflow.js";
