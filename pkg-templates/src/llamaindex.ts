/** LlamaIndex.TS, by the shapes of its objects: nothing of it is imported. */

import { read } from "./attributes.js";
import type { Langfuse } from "./client.js";
import { activeObservation, enter } from "./context.js";
import type { ObservationAttributes, ObservationType } from "./core.js";
import { Call, startCall, UnderWay } from "./llm.js";
import { fieldsOf, safely, usageOf } from "./llm-shapes.js";
import { activeLangfuse } from "./observability.js";
import type { Observation } from "./observation.js";
import { watched } from "./results.js";
import { shared } from "./shared.js";

/** What a traced LLM has: `chat` or `complete`, that give a promise of a response, or of its chunks; and `metadata`. */
export type LlamaIndexLLM =
  | {
      /** Answers messages. */
      chat(params: any): unknown;
    }
  | {
      /** Completes a prompt. */
      complete(params: any): unknown;
    };

/** How the calls of an LLM are recorded. */
export interface TraceLLMOptions {
  /** What the generations are called. Default: `llm.chat` and `llm.complete`. */
  name?: string;
  /** Who records them. Default: the client that is current at a call, else the process-wide one. */
  client?: Langfuse;
  /** The observation above them. Default: the current one, on hosts with `AsyncLocalStorage`. */
  parent?: Observation;
}

const METHODS = ["chat", "complete"];
/** What an LLM's metadata says of a call; the rest is about the model. */
const PARAMETERS = ["temperature", "topP", "maxTokens"];
/** Of a stream whose parts are kept for the output. */
const KEPT_TEXT = 1_000_000;
const STOPPED_EARLY = "the consumer stopped early";

/**
 * An LLM of LlamaIndex's, or of the same shape, each call of which is a generation: of whatever provider, with its errors, and with
 * streams that their consumers leave. What is called is the LLM itself, which stays as it is.
 *
 * ```ts
 * import { traceLLM } from "langfuse-edge";
 *
 * const llm = traceLLM({
 *   metadata: { model: "gpt-4o", temperature: 0.2 },
 *   async chat(params: { messages: { role: string; content: string }[] }) {
 *     return { message: { role: "assistant", content: "Hello!" }, raw: { usage: { input_tokens: 1, output_tokens: 2 } } };
 *   },
 * });
 * await llm.chat({ messages: [{ role: "user", content: "Hi" }] });
 * ```
 *
 * @throws Error when it has neither `chat` nor `complete`.
 */
export function traceLLM<LLM extends LlamaIndexLLM>(llm: LLM, options: TraceLLMOptions = {}): LLM {
  if (!METHODS.some((name) => typeof read(llm, name) === "function")) {
    throw new Error("langfuse-edge: traceLLM: llm must be an object with a method chat or complete, as LlamaIndex's LLMs are");
  }
  const known = new WeakMap<Function, Function>();
  // A proxy may not differ from a property that cannot change, so it is not one of the LLM itself then.
  const shadow = Object.isExtensible(llm) ? llm : (Object.create(llm) as LLM);
  const traced: LLM = new Proxy(shadow, {
    get(_, name) {
      // The LLM's own methods and getters may use fields that are private to it.
      const value: unknown = Reflect.get(llm, name, llm);
      if (typeof value !== "function" || name === "constructor") return value;
      let method = known.get(value);
      if (!method) {
        method = methodOf(value, name);
        known.set(value, method);
      }
      return method;
    },
    set: (_, name, value) => Reflect.set(llm, name, value, llm),
  });
  function methodOf(method: Function, name: PropertyKey): Function {
    // These call `this.chat`, once for each turn of a conversation.
    const isLoop = name === "exec" || name === "streamExec";
    const apply = (_: Function, self: unknown, args: unknown[]) => {
      const call = () => Reflect.apply(method, self === traced && !isLoop ? llm : self, args) as unknown;
      return METHODS.includes(name as string) ? traceCall(llm, name as string, args[0], call, options) : call();
    };
    return new Proxy(method, { apply });
  }
  return traced;
}

/** Generations that `traceLLM` makes: what LlamaIndex tells of their calls is known already. */
const made = () => (shared().made ??= new WeakSet());

function traceCall(llm: object, method: string, params: unknown, call: () => unknown, options: TraceLLMOptions): unknown {
  const client = options.client ?? options.parent?.client ?? activeLangfuse();
  if (!client.enabled) return call();
  const says = safely(() => callSays(read(llm, "metadata"), params), {});
  const above = options.parent ?? activeObservation(client) ?? client;
  const generation = startCall(above, options.name ?? `llm.${method}`, says);
  made().add(generation.observation);
  const answer = new Answer();
  const within = enter(generation.observation);
  let result;
  try {
    result = within(call);
  } catch (error) {
    generation.fail(error);
    throw error;
  }
  return watched(result, {
    within,
    keepsParts: false,
    part(chunk) {
      generation.firstToken();
      answer.add(chunk);
    },
    complete({ output, error, hasFailed, isPartial }) {
      if (!answer.isEmpty || isPartial) output = answer.response();
      if (hasFailed) generation.fail(error, answer.isEmpty ? {} : answerSays(output));
      else if (isPartial) generation.giveUp(STOPPED_EARLY, answer.isEmpty ? {} : answerSays(output));
      else generation.end(answerSays(output));
    },
  });
}

function callSays(metadata: unknown, params: unknown): ObservationAttributes {
  const [model, call] = [metadataSays(metadata), paramsSay(params)];
  const modelParameters = { ...model.modelParameters, ...call.modelParameters };
  return { ...model, ...call, ...(Object.keys(modelParameters).length > 0 && { modelParameters }) };
}

/** The model and its parameters. */
function metadataSays(metadata: unknown): ObservationAttributes {
  const fields = fieldsOf(metadata);
  const model = read(fields, "model");
  const parameters: Record<string, string | number> = {};
  for (const name of PARAMETERS) {
    const value = read(fields, name);
    if (typeof value === "number" || typeof value === "string") parameters[name] = value;
  }
  return {
    ...(typeof model === "string" && { model }),
    ...(Object.keys(parameters).length > 0 && { modelParameters: parameters }),
  };
}

/** What a call is told: messages or a prompt, tools, and options of its provider. */
function paramsSay(params: unknown): ObservationAttributes {
  const fields = fieldsOf(params);
  if (!fields) return { input: params };
  const input = read(fields, "messages") ?? read(fields, "prompt") ?? params;
  const tools = read(fields, "tools");
  const parameters: Record<string, string | number> = {};
  const more = { ...fieldsOf(read(fields, "additionalChatOptions")), ...(read(fields, "stream") === true && { stream: "true" }) };
  for (const [name, value] of Object.entries(more)) {
    if (typeof value === "number" || typeof value === "string") parameters[name] = value;
    else if (typeof value === "boolean") parameters[name] = String(value);
  }
  // What a tool does is no text; what it is, is.
  const known = Array.isArray(tools) ? tools.map((tool: unknown) => read(fieldsOf(tool), "metadata") ?? tool) : [];
  return {
    input: known.length > 0 ? { messages: input, tools: known } : input,
    ...(Object.keys(parameters).length > 0 && { modelParameters: parameters }),
  };
}

/** What a response says, `{ message, raw }` of a chat or `{ text, raw }`; and its provider's, `raw`, of which it was made. */
const answerSays = (response: unknown) => safely(() => readAnswer(response), { output: response });

function readAnswer(response: unknown): ObservationAttributes {
  const fields = fieldsOf(response);
  const raw = read(fields, "raw");
  const message = fieldsOf(read(fields, "message"));
  const options = fieldsOf(read(message, "options"));
  const hasOptions = options && Object.keys(options).length > 0;
  const says: ObservationAttributes = {
    output: message
      ? { role: read(message, "role"), content: read(message, "content"), ...(hasOptions && { options }) }
      : (read(fields, "text") ?? response),
  };
  // Of a stream, the last chunks have the usage.
  for (const part of (Array.isArray(raw) ? raw : [raw]) as unknown[]) {
    const own = fieldsOf(part);
    const chunk = fieldsOf(read(own, "raw")) ?? own;
    const model = read(chunk, "model");
    if (typeof model === "string" && model) says.model = model;
    const inner = fieldsOf(read(chunk, "response"));
    const usage = [chunk, inner].map((of) => usageOf(read(of, "usage") ?? read(of, "usageMetadata"))).find(Boolean);
    if (usage) says.usageDetails = { ...(says.usageDetails as Record<string, number> | undefined), ...usage };
  }
  return says;
}

/** The answer of a stream, as far as it has come. */
class Answer {
  isEmpty = true;
  #text = "";
  #isChat = false;
  #options: Record<string, unknown> = {};
  #toolCalls = new Map<string, unknown>();
  /** What says something of the whole: models and usage. */
  #raw: unknown[] = [];

  add(chunk: unknown): void {
    this.isEmpty = false;
    safely(() => this.#read(chunk), undefined);
  }

  #read(chunk: unknown): void {
    const fields = fieldsOf(chunk);
    const [delta, text] = [read(fields, "delta"), read(fields, "text")];
    const more = typeof delta === "string" ? delta : text;
    this.#isChat ||= typeof text !== "string";
    if (typeof more === "string" && this.#text.length < KEPT_TEXT) this.#text += more;
    const options = fieldsOf(read(fields, "options"));
    // Providers send the calls of tools one by one, and again as they grow.
    const calls = read(options, "toolCall");
    if (Array.isArray(calls)) {
      for (const call of calls as unknown[]) {
        const id = read(fieldsOf(call), "id");
        this.#toolCalls.set(typeof id === "string" ? id : `${this.#toolCalls.size}`, call);
      }
    }
    Object.assign(this.#options, options);
    const raw = fieldsOf(read(fields, "raw"));
    if (!raw) return;
    if (this.#raw.length === 0) this.#raw.push({ model: read(raw, "model") });
    if (["usage", "usageMetadata", "response"].some((name) => fieldsOf(read(raw, name)))) this.#raw.push(raw);
  }

  response(): unknown {
    if (!this.#isChat) return { text: this.#text, raw: this.#raw };
    const options = this.#toolCalls.size > 0 ? { ...this.#options, toolCall: [...this.#toolCalls.values()] } : this.#options;
    return { message: { role: "assistant", content: this.#text, options }, raw: this.#raw };
  }
}

// Callbacks

/** The part of LlamaIndex's `Settings` that is used. */
export interface LlamaIndexSettings {
  readonly callbackManager: {
    /** Listens. */
    on(event: any, listener: (event: any) => void): unknown;
    /** Listens no more. */
    off(event: any, listener: (event: any) => void): unknown;
  };
}

/** How what LlamaIndex tells is recorded. */
export interface AttachOptions {
  /** Who records it. Default: the client that is current at an event, else the process-wide one. */
  client?: Langfuse;
}

/** An event as LlamaIndex dispatches it. */
interface LlamaIndexEvent {
  detail?: unknown;
  /** Who calls, which is another object for each call. */
  reason?: Caller | null;
}

interface Caller {
  readonly caller?: unknown;
  readonly parent?: Caller | null;
}

/** Spans that begin and end with an event each: what they are, and what their end says. */
const SPANS: Record<string, { name: string; asType: ObservationType; output: (detail: unknown) => unknown; isAbove: boolean }> = {
  query: { name: "query", asType: "chain", output: (detail) => textOfResponse(read(fieldsOf(detail), "response")), isAbove: true },
  retrieve: { name: "retrieve", asType: "retriever", output: (detail) => nodesOf(read(fieldsOf(detail), "nodes")), isAbove: false },
  synthesize: { name: "synthesize", asType: "chain", output: (detail) => textOfResponse(read(fieldsOf(detail), "response")), isAbove: true },
};

/**
 * Records what LlamaIndex tells of its work: calls of language models, of tools, queries, retrievals and syntheses, below the
 * observation that is current when they begin.
 *
 * LlamaIndex tells nothing of calls that fail, nor of streams that are left early. Such a call ends, with level WARNING, when the
 * observation that it began in has ended and is flushed. `traceLLM` sees how calls end; a call that it records is not recorded twice.
 *
 * ```ts
 * import { attachLlamaIndex, traceLLM } from "langfuse-edge";
 * import { Settings } from "llamaindex";
 *
 * const detach = attachLlamaIndex(Settings);
 * ```
 *
 * @param settings LlamaIndex's `Settings`, or anything with a `callbackManager`. Attached again, it does nothing.
 * @returns A function that undoes it, and ends what is under way.
 * @throws Error when it has no callback manager.
 */
export function attachLlamaIndex(settings: LlamaIndexSettings, options: AttachOptions = {}): () => void {
  const manager = settings?.callbackManager;
  if (typeof manager?.on !== "function" || typeof manager.off !== "function") {
    throw new Error("langfuse-edge: attachLlamaIndex: settings must be LlamaIndex's Settings, or an object with a callbackManager");
  }
  const attached = (shared().attached ??= new WeakSet());
  if (attached.has(manager)) return () => {};
  attached.add(manager);
  const events = new Events(options.client);
  const listeners = Object.entries(events.listeners()).map(([name, listen]) => {
    const listener = (event: LlamaIndexEvent) => {
      try {
        listen(fieldsOf(event.detail) ?? {}, event.reason ?? undefined);
      } catch {
        // What an event says may be anything; whoever sends it must not fail for it.
      }
    };
    manager.on(name, listener);
    return [name, listener] as const;
  });
  let isAttached = true;
  return () => {
    if (!isAttached) return;
    isAttached = false;
    listeners.forEach(([name, listener]) => manager.off(name, listener));
    attached.delete(manager);
    events.finish();
  };
}

type Detail = Record<string, unknown>;

class Events {
  readonly #calls = new UnderWay();
  /** What a caller's calls are below, the innermost last, and what was current when that began. */
  readonly #above = new WeakMap<Caller, { observation: Observation; around: Observation | undefined }[]>();

  constructor(readonly client: Langfuse | undefined) {}

  finish(): void {
    this.#calls.finish();
  }

  listeners(): Record<string, (detail: Detail, caller: Caller | undefined) => void> {
    const listeners: Record<string, (detail: Detail, caller: Caller | undefined) => void> = {
      "llm-start": (detail, caller) => this.#startLlm(detail, caller),
      "llm-stream": ({ id, chunk }) => {
        const call = this.#calls.get(keyOf("llm", id));
        if (call instanceof Streamed) {
          call.firstToken();
          call.answer.add(chunk);
        }
      },
      "llm-end": ({ id, response }) => this.#calls.take(keyOf("llm", id))?.end(answerSays(response)),
      "llm-tool-call": ({ toolCall }, caller) => {
        const call = fieldsOf(toolCall);
        const name = read(call, "name");
        this.#start(keyOf("tool", read(call, "id")), caller, (above) => {
          const says = { input: read(call, "input"), metadata: { toolCallId: read(call, "id") } };
          return new Call(above.startObservation(typeof name === "string" && name ? name : "tool", says, { asType: "tool" }));
        });
      },
      "llm-tool-result": ({ toolCall, toolResult }) => {
        const result = fieldsOf(toolResult);
        this.#endTool(read(fieldsOf(toolCall), "id"), read(result, "output"), read(result, "isError"));
      },
    };
    for (const [kind, { name, asType, output, isAbove }] of Object.entries(SPANS)) {
      listeners[`${kind}-start`] = ({ id, query }, caller) => {
        const call = this.#start(keyOf(kind, id), caller, (above) => {
          return new Call(above.startObservation(name, { input: textOfQuery(query) }, { asType }));
        });
        if (call && caller && isAbove) {
          const list = this.#above.get(caller) ?? [];
          this.#above.set(caller, [...list, { observation: call.observation, around: activeObservation(call.observation.client) }]);
        }
      };
      listeners[`${kind}-end`] = (detail) => {
        const call = this.#calls.take(keyOf(kind, detail["id"]));
        call?.end({ output: output(detail) });
      };
    }
    return listeners;
  }

  #startLlm(detail: Detail, caller: Caller | undefined): void {
    const { id, messages } = detail;
    this.#endToolsOf(messages);
    const active = activeObservation(this.client);
    if (active && made().has(active)) return;
    this.#start(keyOf("llm", id), caller, (above) => {
      const says = { ...metadataSays(read(caller?.caller as object, "metadata")), input: messages };
      return new Streamed(startCall(above, "llm.chat", says).observation);
    });
  }

  /** Begins below what is current, or below what the caller's call is a part of. */
  #start(key: string, caller: Caller | undefined, begin: (above: Observation | Langfuse) => Call): Call | undefined {
    const client = this.client ?? activeLangfuse();
    if (!client.enabled) return;
    const active = activeObservation(client);
    const within = this.#partOf(caller, active) ?? active;
    const call = begin(within ?? client);
    this.#calls.add(key, call, within);
    return call;
  }

  /** What a call is a part of that LlamaIndex has told of; nothing when code of the user's stands between. */
  #partOf(caller: Caller | undefined, active: Observation | undefined): Observation | undefined {
    for (let one: Caller | null | undefined = caller; one; one = one.parent) {
      const found = this.#above.get(one)?.filter(({ observation }) => observation.isOpen).at(-1);
      if (found) return found.around === active ? found.observation : undefined;
    }
    return;
  }

  #endTool(id: unknown, output: unknown, isError: unknown): void {
    const call = this.#calls.take(keyOf("tool", id));
    if (isError) call?.fail({ message: typeof output === "string" ? output : "the tool failed" }, { output });
    else call?.end({ output });
  }

  /** A tool that throws has no event for it: the model is told instead. */
  #endToolsOf(messages: unknown): void {
    for (const message of Array.isArray(messages) ? (messages as unknown[]) : []) {
      const result = fieldsOf(read(fieldsOf(read(fieldsOf(message), "options")), "toolResult"));
      if (result) this.#endTool(read(result, "id"), read(result, "result"), read(result, "isError"));
    }
  }
}

/** A call of a language model, with what has come of its answer. */
class Streamed extends Call {
  readonly answer = new Answer();

  override saysSoFar = (): ObservationAttributes => (this.answer.isEmpty ? {} : answerSays(this.answer.response()));
}

const keyOf = (kind: string, id: unknown) => `${kind} ${String(id)}`;

/** A query is a text, or has one. */
function textOfQuery(query: unknown): unknown {
  return read(fieldsOf(query), "query") ?? query;
}

/** An engine's response has much more to it: the nodes it was made of, the way to their documents. A stream is nobody's to read but the caller's. */
function textOfResponse(response: unknown): unknown {
  const fields = fieldsOf(response);
  if (!fields || Symbol.asyncIterator in fields) return fields ? undefined : response;
  return read(fieldsOf(read(fields, "message")), "content") ?? read(fields, "response") ?? response;
}

/** Texts with their scores. */
function nodesOf(nodes: unknown): unknown {
  if (!Array.isArray(nodes)) return nodes;
  return nodes.map((scored: unknown) => {
    const node = fieldsOf(read(fieldsOf(scored), "node"));
    if (!node) return scored;
    return { id: read(node, "id_"), text: read(node, "text"), score: read(fieldsOf(scored), "score"), metadata: read(node, "metadata") };
  });
}
