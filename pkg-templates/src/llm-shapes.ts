/** What requests and responses of language models say, in the forms that APIs have. */

import { read } from "./attributes.js";
import type { ObservationAttributes } from "./core.js";

/** Where requests have what goes in, the first one first. */
const INPUTS = ["messages", "prompt", "input", "contents"];
/** What belongs to the messages. */
const BESIDE_THE_INPUT = ["system", "system_instruction", "instructions", "tools", "tool_choice", "functions"];
/** Where responses have what comes out, the first one first. */
const OUTPUTS = ["output", "candidates", "content", "text"];

type Fields = Record<string, unknown>;

/** What `say` gives; `otherwise` when a value stops it, as a proxy can: who is traced must not fail for it. */
export function safely<T>(say: () => T, otherwise: T): T {
  try {
    return say();
  } catch {
    return otherwise;
  }
}

/** Something with fields: neither a list nor nothing. */
export function fieldsOf(value: unknown): Fields | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : undefined;
}

/** The model, its parameters and the input. Of a request of another form, all is the input. */
export const requestSays = (request: unknown) => safely(() => readRequest(request), { input: request });

function readRequest(request: unknown): ObservationAttributes {
  const fields = fieldsOf(request);
  if (!fields || !INPUTS.some((name) => read(fields, name) !== undefined)) {
    return { input: request };
  }
  const says: ObservationAttributes = {};
  const input: Fields = {};
  const parameters: Record<string, string | number> = {};
  for (const name of Object.keys(fields)) {
    const value = read(fields, name);
    if (value === undefined || value === null || typeof value === "function") {
      continue;
    } else if (name === "model" && typeof value === "string") {
      says.model = value;
    } else if (INPUTS.includes(name) || BESIDE_THE_INPUT.includes(name)) {
      input[name] = value;
    } else {
      // Langfuse shows texts and numbers.
      parameters[name] = typeof value === "string" || typeof value === "number" ? value : jsonOf(value);
    }
  }
  if (Object.keys(parameters).length > 0) says.modelParameters = parameters;
  const inputs = Object.values(input);
  says.input = inputs.length === 1 ? inputs[0] : input;
  return says;
}

/** The model that gave it, the output and the token usage. Of a response of another form, all is the output. */
export const responseSays = (response: unknown) => safely(() => readResponse(response), { output: response });

function readResponse(response: unknown): ObservationAttributes {
  const fields = fieldsOf(response);
  if (!fields) {
    return { output: response };
  }
  const says: ObservationAttributes = { output: outputOf(fields) };
  const model = read(fields, "model");
  if (typeof model === "string") says.model = model;
  const usage = usageOf(read(fields, "usage") ?? read(fields, "usageMetadata"));
  if (usage) says.usageDetails = usage;
  return says;
}

function outputOf(response: Fields): unknown {
  const choices = read(response, "choices");
  if (Array.isArray(choices)) {
    const outputs = choices.map((choice: unknown) => {
      const fields = fieldsOf(choice);
      return read(fields, "message") ?? read(fields, "text") ?? choice;
    });
    return outputs.length === 1 ? outputs[0] : outputs;
  }
  // Of Anthropic's, which says who speaks beside what is said.
  const [role, content] = [read(response, "role"), read(response, "content")];
  if (role !== undefined && content !== undefined) {
    return { role, content };
  }
  const name = OUTPUTS.find((name) => read(response, name) !== undefined);
  return name ? read(response, name) : response;
}

const SIDES = [
  {
    side: "input",
    names: ["input", "prompt_tokens", "input_tokens", "promptTokenCount"],
    details: ["prompt_tokens_details", "input_tokens_details"],
  },
  {
    side: "output",
    names: ["output", "completion_tokens", "output_tokens", "candidatesTokenCount"],
    details: ["completion_tokens_details", "output_tokens_details"],
  },
];
/** What the counts of the sides are made of, or their sum. Anthropic counts others apart, and a user's own are what they are. */
const WHOLE = [...SIDES.flatMap(({ names }) => names), "total_tokens", "total"];

/**
 * Token counts by kind; undefined when there are none. Langfuse adds them up, so each token is counted once: what the details
 * name is taken off the whole.
 */
export function usageOf(usage: unknown): Record<string, number> | undefined {
  const fields = fieldsOf(usage);
  if (!fields) return;
  const counts: Record<string, number> = {};
  for (const { side, names, details } of SIDES) {
    const name = names.find((name) => isCount(read(fields, name)));
    if (!name) continue;
    let count = read(fields, name) as number;
    const parts = fieldsOf(details.map((name) => fieldsOf(read(fields, name))).find(Boolean)) ?? {};
    for (const part of Object.keys(parts)) {
      const tokens = read(parts, part);
      if (isCount(tokens) && tokens > 0) {
        count = Math.max(0, count - tokens);
        counts[`${side}_${part}`] = tokens;
      }
    }
    counts[side] = count;
  }
  for (const name of Object.keys(fields)) {
    const count = read(fields, name);
    if (isCount(count) && !WHOLE.includes(name) && !name.endsWith("TokenCount")) counts[name] = count;
  }
  return Object.keys(counts).length > 0 ? counts : undefined;
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function jsonOf(value: unknown): string {
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return "[not serializable]";
  }
}
