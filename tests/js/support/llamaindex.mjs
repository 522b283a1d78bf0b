// LlamaIndex's LLM of OpenAI, against a server of OpenAI's form that says what it is told.
import { OpenAI } from "@llamaindex/openai";

import { httpServerFor } from "./http-server.mjs";

const USAGE = { prompt_tokens: 9, completion_tokens: 2, total_tokens: 11 };

/** A call of a tool, as a model answers with it. */
export const toolCall = (id, name, input) => ({ id, type: "function", function: { name, arguments: JSON.stringify(input) } });
export const asksForWeather = [toolCall("call-1", "weather", { city: "Oslo" })];

/** What the receiver shows of an agent whose model asks for the weather before it answers. */
export const treeOfAgent = (name) => `trace  ${name}
AGENT             ${name}
├─ SPAN           handleInputStep
├─ SPAN           setupAgent
├─ SPAN           runAgentStep
│  ├─ GENERATION  llm.chat            9 → 2 tokens  gpt-4o-mini-0718
│  └─ SPAN        parseAgentOutput
├─ SPAN           executeToolCalls
│  └─ TOOL        weather
├─ SPAN           processToolResults
├─ SPAN           setupAgent
└─ SPAN           runAgentStep
   ├─ GENERATION  llm.chat            9 → 2 tokens  gpt-4o-mini-0718
   └─ SPAN        parseAgentOutput
`;

/**
 * The URL of a server of OpenAI's form that answers as `answerTo` says of a request: with a text or a message, in one piece; of a list, with each
 * text and each call of a tool, in a stream; with a number, which is a status.
 */
export async function openaiServerFor(t, answerTo) {
  const { url } = await httpServerFor(t, (_, response, body) => {
    const answer = answerTo(JSON.parse(body));
    if (typeof answer === "number") return response.writeHead(answer).end('{"error":{"message":"no"}}');
    if (Array.isArray(answer)) {
      response.writeHead(200, { "content-type": "text/event-stream" });
      const chunk = (more) => response.write(`data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", model: "gpt-4o-mini-0718", ...more })}\n\n`);
      for (const [index, part] of answer.entries()) {
        const delta = typeof part === "string" ? { content: part } : { tool_calls: [{ index, ...part }] };
        chunk({ choices: [{ index: 0, delta, finish_reason: null }] });
      }
      chunk({ choices: [{ index: 0, delta: {}, finish_reason: typeof answer[0] === "string" ? "stop" : "tool_calls" }], usage: USAGE });
      return response.end("data: [DONE]\n\n");
    }
    const message = typeof answer === "string" ? { role: "assistant", content: answer } : answer;
    const finish_reason = message.tool_calls ? "tool_calls" : "stop";
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ id: "c", object: "chat.completion", model: "gpt-4o-mini-0718", choices: [{ index: 0, message, finish_reason }], usage: USAGE }));
  });
  return url;
}

/** An LLM whose server gives these answers, one after the other, and then "Hello!". */
export async function openaiFor(t, ...answers) {
  const baseURL = await openaiServerFor(t, () => answers.shift() ?? "Hello!");
  return new OpenAI({ apiKey: "k", baseURL, model: "gpt-4o-mini", temperature: 0.3, maxTokens: 50, maxRetries: 0 });
}
