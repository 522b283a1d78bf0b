import { getLlmCallbackHandler } from "langfuse-edge";
import OpenAI from "openai";

import type { Env } from "./env";

const PARAMETERS = { temperature: 0, max_tokens: 400 };

export interface Prompt {
  system: string;
  user: string;
}

/** An answer that is one JSON object. Recorded as a generation below the step that asks. */
export async function askForJson(name: string, env: Env, prompt: Prompt): Promise<Record<string, unknown>> {
  const text = await generate(name, env, prompt, async (client, request, call) => {
    const completion = await client.chat.completions.create({ ...request, response_format: { type: "json_object" } });
    const output = completion.choices[0]?.message.content ?? "";
    call.end({ model: completion.model, output, usage: completion.usage });
    return output;
  });
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new Error(`${name}: the model's answer is not JSON`);
  }
  if (typeof answer !== "object" || answer === null || Array.isArray(answer)) {
    throw new Error(`${name}: the model's answer is not a JSON object`);
  }
  return answer as Record<string, unknown>;
}

/** An answer in prose, streamed. Recorded as a generation with the time of its first token. */
export async function askForText(name: string, env: Env, prompt: Prompt): Promise<string> {
  return generate(name, env, prompt, async (client, request, call) => {
    const stream = await client.chat.completions.create({
      ...request,
      stream: true,
      stream_options: { include_usage: true },
    });
    let [output, model, usage]: [string, string, OpenAI.CompletionUsage | undefined] = ["", request.model, undefined];
    for await (const chunk of stream) {
      const delta = chunk.choices[0]?.delta.content;
      if (delta) call.firstToken();
      output += delta ?? "";
      model = chunk.model;
      usage = chunk.usage ?? undefined;
    }
    call.end({ model, output, usage });
    return output;
  });
}

type Request = { model: string; messages: OpenAI.ChatCompletionMessageParam[] } & typeof PARAMETERS;

/** What the handler is told of a call, beside its start and its error. */
interface Call {
  firstToken(): void;
  end(response: object): void;
}

async function generate(
  name: string,
  env: Env,
  prompt: Prompt,
  ask: (client: OpenAI, request: Request, call: Call) => Promise<string>,
): Promise<string> {
  const request: Request = {
    model: env.OPENAI_MODEL || "gpt-4o-mini",
    messages: [
      { role: "system", content: prompt.system },
      { role: "user", content: prompt.user },
    ],
    ...PARAMETERS,
  };
  const handler = getLlmCallbackHandler();
  const id = crypto.randomUUID();
  handler.onLlmStart(id, name, request);
  const call = {
    firstToken: () => handler.onLlmFirstToken(id),
    end: (response: object) => handler.onLlmEnd(id, response),
  };
  try {
    return await ask(openai(env), request, call);
  } catch (error) {
    const readable = new Error(`${name}: ${explain(error)}`, { cause: error });
    handler.onLlmError(id, readable);
    throw readable;
  }
}

function openai(env: Env): OpenAI {
  if (!env.OPENAI_API_KEY) throw new Error("OPENAI_API_KEY is not set; set it with `wrangler secret put OPENAI_API_KEY`");
  return new OpenAI({
    apiKey: env.OPENAI_API_KEY,
    baseURL: env.OPENAI_BASE_URL || "https://api.openai.com/v1",
    maxRetries: 1,
    timeout: 20_000,
  });
}

function explain(error: unknown): string {
  if (error instanceof OpenAI.APIConnectionTimeoutError) return "the LLM endpoint did not answer in time";
  if (error instanceof OpenAI.APIConnectionError) return "the LLM endpoint cannot be reached";
  if (error instanceof OpenAI.APIError) return `the LLM endpoint answered ${error.message}`;
  return error instanceof Error ? error.message : String(error);
}
