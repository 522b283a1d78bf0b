import type { Observation } from "langfuse-edge";
import OpenAI from "openai";

import type { Env } from "./env";

const PARAMETERS = { temperature: 0, max_tokens: 400 };

export interface Prompt {
  system: string;
  user: string;
}

/** An answer that is one JSON object. Recorded as a generation under `parent`. */
export async function askForJson(parent: Observation, name: string, env: Env, prompt: Prompt): Promise<Record<string, unknown>> {
  const text = await generate(parent, name, env, prompt, async (client, request, generation) => {
    const completion = await client.chat.completions.create({ ...request, response_format: { type: "json_object" } });
    generation.update({ model: completion.model, usageDetails: usageDetails(completion.usage) });
    return completion.choices[0]?.message.content ?? "";
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
export async function askForText(parent: Observation, name: string, env: Env, prompt: Prompt): Promise<string> {
  return generate(parent, name, env, prompt, async (client, request, generation) => {
    const stream = await client.chat.completions.create({
      ...request,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = "";
    for await (const chunk of stream) {
      const delta = chunk.choices[0]?.delta.content;
      if (delta && !text) generation.update({ completionStartTime: new Date() });
      text += delta ?? "";
      if (chunk.usage) generation.update({ model: chunk.model, usageDetails: usageDetails(chunk.usage) });
    }
    return text;
  });
}

type Request = { model: string; messages: OpenAI.ChatCompletionMessageParam[] } & typeof PARAMETERS;

async function generate(
  parent: Observation,
  name: string,
  env: Env,
  prompt: Prompt,
  call: (client: OpenAI, request: Request, generation: Observation) => Promise<string>,
): Promise<string> {
  const request: Request = {
    model: env.OPENAI_MODEL || "gpt-4o-mini",
    messages: [
      { role: "system", content: prompt.system },
      { role: "user", content: prompt.user },
    ],
    ...PARAMETERS,
  };
  const generation = parent.startObservation(
    name,
    { model: request.model, modelParameters: PARAMETERS, input: request.messages },
    { asType: "generation" },
  );
  try {
    const output = await call(openai(env), request, generation);
    generation.update({ output });
    return output;
  } catch (error) {
    const readable = new Error(`${name}: ${explain(error)}`, { cause: error });
    generation.update({ level: "ERROR", statusMessage: readable.message });
    throw readable;
  } finally {
    generation.end();
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

function usageDetails(usage: OpenAI.CompletionUsage | null | undefined): Record<string, number> | undefined {
  if (!usage) return undefined;
  return { input: usage.prompt_tokens, output: usage.completion_tokens, total: usage.total_tokens };
}
