/** Calls of language models: generations with model, parameters, messages, output, usage and first token, that end once. */

import type { Langfuse } from "./client.js";
import { activeObservation } from "./context.js";
import type { ObservationAttributes } from "./core.js";
import { requestSays, responseSays } from "./llm-shapes.js";
import { activeLangfuse, messageOf } from "./observability.js";
import type { Observation } from "./observation.js";
import { shared } from "./shared.js";

/** So many are kept under way; of more the oldest is given up, as the client does it with open observations. */
const MOST_UNDER_WAY = 10_000;
/** As long as the client keeps an observation open. */
const LONGEST_MS = 3_600_000;
/** Of what nobody has ended. */
const NEVER_ENDED = "never ended";

/** Something that has begun and ends once: with what it gave, with an error, or given up. */
export class Call {
  #hasFirstToken = false;

  constructor(readonly observation: Observation) {}

  /** The model's first token has come. Later tokens change nothing. */
  firstToken(): void {
    if (!this.#hasFirstToken) {
      this.#hasFirstToken = true;
      this.observation.update({ completionStartTime: new Date() } as ObservationAttributes, undefined);
    }
  }

  end(says: ObservationAttributes): void {
    this.observation.update(says, undefined).end();
  }

  fail(error: unknown, says: ObservationAttributes = {}): void {
    this.end({ ...says, level: "ERROR", statusMessage: messageOf(error) || "the call failed" });
  }

  /** Nobody will end it otherwise. */
  giveUp(why = NEVER_ENDED, says: ObservationAttributes = this.saysSoFar()): void {
    this.end({ ...says, level: "WARNING", statusMessage: why });
  }

  /** What it has given until now, for who gives it up. */
  saysSoFar: () => ObservationAttributes = () => ({});
}

/** Calls under way, by the ids of whoever makes them. */
export class UnderWay {
  readonly #calls = new Map<string, { call: Call; within: Observation | undefined; begun: number }>();

  get size(): number {
    return this.#calls.size;
  }

  /** `within` is what it is a part of: when that has ended, nobody is left who would end the call. */
  add(id: string, call: Call, within: Observation | undefined): void {
    this.take(id)?.giveUp();
    if (this.#calls.size >= MOST_UNDER_WAY) {
      this.flush();
      const [oldest] = this.#calls.size >= MOST_UNDER_WAY ? this.#calls.keys() : [];
      if (oldest !== undefined) this.take(oldest)?.giveUp();
    }
    this.#calls.set(id, { call, within, begun: Date.now() });
    const state = shared();
    (state.underWay ??= new Set()).add(this);
    state.endOrphans ??= () => state.underWay?.forEach((calls) => calls.flush());
  }

  get(id: string): Call | undefined {
    return this.#calls.get(id)?.call;
  }

  take(id: string): Call | undefined {
    const found = this.#calls.get(id);
    this.#calls.delete(id);
    if (this.#calls.size === 0) shared().underWay?.delete(this);
    return found?.call;
  }

  /** Gives up the calls that nobody will end. */
  flush(): void {
    for (const [id, { call, within, begun }] of this.#calls) {
      const isOver = !call.observation.isOpen || Date.now() - begun > LONGEST_MS;
      if (isOver || (within && !within.isOpen)) this.take(id)?.giveUp();
    }
  }

  /** Gives up all of them. */
  finish(): void {
    for (const id of this.#calls.keys()) this.take(id)?.giveUp();
  }
}

/** How a call is recorded. */
export interface LlmCallOptions {
  /** The observation above it. Default: the current one, on hosts with `AsyncLocalStorage`. */
  parent?: Observation;
}

/**
 * Turns what happens to calls of language models into generations, for programs that are told of it by callbacks: start,
 * first token, end, error. Each call is known by an id of the caller's. Callbacks about a call that is not under way do nothing,
 * and none of them throws.
 *
 * ```ts
 * import { LlmCallbackHandler } from "langfuse-edge";
 *
 * const handler = new LlmCallbackHandler();
 * handler.onLlmStart("call-1", "answer", { model: "gpt-4o", temperature: 0.2, messages: [{ role: "user", content: "Hi" }] });
 * handler.onLlmFirstToken("call-1");
 * handler.onLlmEnd("call-1", { output: "Hello!", usage: { input: 1, output: 2 } });
 * ```
 */
export class LlmCallbackHandler {
  readonly #client: Langfuse | undefined;
  readonly #calls = new UnderWay();

  /**
   * A handler that knows of no call yet.
   *
   * @param options `client`: whose generations these are. Default: the client that is current when a call starts, else the process-wide one.
   */
  constructor(options?: { client?: Langfuse }) {
    this.#client = options?.client;
  }

  /**
   * A call has begun: a generation called `name`.
   *
   * @param request As APIs of language models have it: `model`; `messages` (with `tools` and `system`), `prompt`, `input` or
   *   `contents`; everything else is a parameter, such as `temperature`. Of a request of another form, all is the input.
   */
  onLlmStart(id: string, name: string, request: unknown, options?: LlmCallOptions): void {
    const client = this.#client ?? options?.parent?.client ?? activeLangfuse();
    if (!client.enabled) return;
    const within = options?.parent ?? activeObservation(client);
    this.#calls.add(id, startCall(within ?? client, name, requestSays(request)), within);
  }

  /** The first token of a call has come. Later ones change nothing. */
  onLlmFirstToken(id: string): void {
    this.#calls.get(id)?.firstToken();
  }

  /**
   * A call has its answer.
   *
   * @param response As APIs of language models have it: `model`; `choices`, `content`, `output` or `candidates`; `usage`, whose
   *   details are counted apart. Of a response of another form, all is the output.
   */
  onLlmEnd(id: string, response: unknown): void {
    this.#calls.take(id)?.end(responseSays(response));
  }

  /** A call has failed: level ERROR, with the error's message. */
  onLlmError(id: string, error: unknown): void {
    this.#calls.take(id)?.fail(error);
  }

  /** How many calls are under way. */
  get callsUnderWay(): number {
    return this.#calls.size;
  }

  /**
   * Ends calls that nobody will end, because the observation they began in has ended: with level WARNING. Every flush does so first.
   */
  flush(): void {
    this.#calls.flush();
  }

  /** Ends all calls that are under way, with level WARNING: for a program's end. */
  finish(): void {
    this.#calls.finish();
  }
}

/** The process-wide handler of calls of language models. */
export function getLlmCallbackHandler(): LlmCallbackHandler {
  return (shared().llmHandler ??= new LlmCallbackHandler());
}

/** A generation below an observation, or the root of a new trace of a client's. */
export function startCall(above: Observation | Langfuse, name: string, says: ObservationAttributes): Call {
  return new Call(above.startObservation(name, says, { asType: "generation" }));
}
