// A Worker that uses LlamaIndex: its LLM, its workflows, its agents. It flushes nothing itself, but where its workflows do.
import { OpenAI } from "@llamaindex/openai";
import { agent } from "@llamaindex/workflow";
import { createWorkflow, workflowEvent } from "@llamaindex/workflow-core";
import { attachLlamaIndex, Langfuse, runWorkflowWithFlush, setLangfuse, step, traceLLM, traceWorkflow } from "langfuse-edge";
import { Settings, tool } from "llamaindex";

// Each test gives its own.
import options from "./options.mjs";

setLangfuse(new Langfuse(options.client));
attachLlamaIndex(Settings);

const openai = () => new OpenAI({ apiKey: "k", baseURL: options.llm, model: "gpt-4o-mini", maxRetries: 0 });
const ask = (content) => ({ messages: [{ role: "user", content }] });
const weather = tool({
  name: "weather",
  description: "The weather of a city",
  parameters: { type: "object", properties: { city: { type: "string" } } },
  execute: ({ city }) => `rain in ${city}`,
});

const question = workflowEvent({ debugLabel: "question" });
const answer = workflowEvent({ debugLabel: "answer" });
const workflow = createWorkflow();
workflow.handle([question], async (_, { data }) => {
  const { message } = await traceLLM(openai()).chat(ask(data));
  return answer.with(message.content);
});

const routes = {
  chat: (name) => step(name, async () => (await openai().chat(ask(name))).message.content),
  stream: (name) =>
    step(name, async () => {
      let text = "";
      for await (const { delta } of await openai().chat({ ...ask(name), stream: true })) text += delta;
      return text;
    }),
  workflow: (name) => runWorkflowWithFlush(traceWorkflow(workflow, { name, startEvent: question, stopEvent: answer }), name),
  async agent(name) {
    const assistant = traceWorkflow(agent({ name, llm: openai(), tools: [weather] }));
    return (await runWorkflowWithFlush(assistant, name)).data.result;
  },
  /** Of a call that fails. */
  fails: (name) => runWorkflowWithFlush(traceWorkflow(agent({ name, llm: traceLLM(openai()), tools: [weather] })), "fail").catch(({ message }) => message),
};

export default {
  async fetch(request) {
    const { pathname, searchParams } = new URL(request.url);
    return new Response(await routes[pathname.slice(1)](searchParams.get("name")));
  },
};
