// LlamaIndex's own types fit, and what does not must not compile.
import { OpenAI } from "@llamaindex/openai";
import { agent, type AgentWorkflow } from "@llamaindex/workflow";
import { createWorkflow, workflowEvent } from "@llamaindex/workflow-core";
import {
  addFlushHandler,
  attachLlamaIndex,
  LlmCallbackHandler,
  log,
  runWorkflowWithFlush,
  status,
  step,
  traceLLM,
  traceWorkflow,
  workflowSteps,
} from "langfuse-edge";
import { captureConsole } from "langfuse-edge/console";
import { type MessageContent, Settings } from "llamaindex";

/** Compiles when the value is of exactly this type. */
function is<Expected>() {
  return <Actual,>(_: Actual, ..._same: Same<Expected, Actual> extends true ? [] : [never]) => {};
}
type Same<A, B> = (<T,>() => T extends A ? 1 : 2) extends <T,>() => T extends B ? 1 : 2 ? true : false;

is<() => void>()(attachLlamaIndex(Settings));
is<OpenAI>()(traceLLM(new OpenAI({ model: "gpt-4o-mini" }), { name: "chat" }));
// @ts-expect-error An LLM has chat or complete.
traceLLM({ speak: () => "Hi" });

const start = workflowEvent<{ mail: string }>();
const stop = workflowEvent<number>();
const traced = traceWorkflow(createWorkflow(), { startEvent: start, stopEvent: stop, waitMs: 0 });
is<Promise<number>>()(traced.run({ mail: "Hi" }));
is<Promise<number>>()(runWorkflowWithFlush(traced, { mail: "Hi" }));
// @ts-expect-error A start event has its data.
void traced.run({ letter: "Hi" });
// @ts-expect-error A LlamaIndex workflow has no run.
void runWorkflowWithFlush(createWorkflow());

const assistant = traceWorkflow(agent({ tools: [] }), { name: "assistant" });
is<AgentWorkflow>()(assistant);
is<MessageContent>()((await runWorkflowWithFlush(assistant, "Hi")).data.result);

class Emails {
  readonly from = "me";
  async run(mail: string) {
    return mail.length;
  }
}
is<Emails>()(workflowSteps(new Emails(), { only: ["run"], asType: "agent" }));
is<Promise<number>>()(runWorkflowWithFlush(workflowSteps(new Emails()), "Hi"));
// @ts-expect-error A field is no method.
workflowSteps(new Emails(), { only: ["from"] });

is<Promise<string>>()(step("name", async () => "result", { waitMs: 0 }));
void step("name", () => undefined, { flush: false });
new LlmCallbackHandler().onLlmStart("1", "answer", { model: "m", prompt: "Hi" });
addFlushHandler({ flush: async () => {} })();
log("warn", "message", { any: "data" });
// @ts-expect-error There is no such level.
log("fatal", "message");
is<() => void>()(captureConsole({ level: "error" }));
is<string | undefined>()(status().host);
