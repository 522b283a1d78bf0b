/** The Langfuse client whose flush can be trusted, for every JavaScript host. */

export { Langfuse, Observation } from "./client.js";
export type {
  FlushOptions,
  FlushReport,
  LangfuseOptions,
  ObservationAttributes,
  ObservationLevel,
  ObservationType,
  ScoreBody,
  ScoreData,
  ScoreDataType,
  StartObservationOptions,
  Stats,
  TraceAttributes,
} from "./core.js";
export { flushLangfuse, getLangfuse, setLangfuse } from "./observability.js";
export type { Scored, Scores } from "./score.js";
export { runWorkflowWithFlush, step } from "./workflow.js";
export type { StepOptions, Workflow } from "./workflow.js";
