/** Functions on other serverless hosts: Vercel and what is like it, AWS Lambda. */

import type { Langfuse } from "./client.js";
import { withinObservation } from "./context.js";
import type { FlushOptions } from "./core.js";
import { hostsKeeper, type WaitUntil } from "./hosts.js";
import { fetched, invoke } from "./invocation.js";
import { failure, getLangfuse } from "./observability.js";
import type { Observation } from "./observation.js";

/** How a function is traced. */
export interface ServerlessOptions {
  /** The client. Default: the process-wide one. */
  client?: Langfuse;
  /** Whether each invocation is an observation, which what is observed within becomes part of. Default: true. */
  traceInvocations?: boolean;
  /** Deadline of the flush after an invocation. Default: 25 s, or what the host leaves, if that is less. */
  flush?: FlushOptions;
}

/** How a function for requests is traced. */
export interface RequestHandlerOptions extends ServerlessOptions {
  /**
   * Keeps the host from freezing the function until a promise is settled. Default: what the host offers: Vercel's, or that of the
   * global `EdgeRuntime` (Supabase, Deno). Where there is none, as on a server of your own, the flush runs beside.
   */
  waitUntil?: (promise: Promise<unknown>) => void;
}

const NOBODY = { waitUntil() {} };

/**
 * Traces a function of a request that gives a response, and delivers what it records: for routes on Vercel, Supabase and Deno, and for
 * servers of your own. Arguments after the request, and the response, are left as they are. An incoming `traceparent` is continued.
 */
export function withLangfuseRequests<Arguments extends [Request, ...unknown[]], Result>(
  handler: (...args: Arguments) => Result,
  options: RequestHandlerOptions = {},
): (...args: Arguments) => Result {
  return (...args) =>
    invoke(() => handler(...args), {
      client: options.client ?? getLangfuse(),
      ctx: (options.waitUntil ? options : (hostsKeeper() ?? NOBODY)) as { waitUntil: WaitUntil },
      isTraced: options.traceInvocations !== false,
      flush: options.flush ?? {},
      describe: () => fetched(args[0]),
    }) as Result;
}

/** The part of AWS Lambda's context that is used. */
export interface LambdaContext {
  /** The function's name. */
  functionName: string;
  /** The invocation's id. */
  awsRequestId: string;
  /** Milliseconds until Lambda ends the invocation. */
  getRemainingTimeInMillis(): number;
}

/** What a flush leaves of an invocation's time for the answer. */
const ANSWER_MS = 500;
const LONGEST_FLUSH_MS = 25_000;

/**
 * Traces an AWS Lambda function and delivers what it records before the function returns, because Lambda freezes it then. The flush
 * takes at most what the function has left of its time; what does not fit goes with the next invocation. It works for functions
 * within `awslambda.streamifyResponse`, too: the context is their last argument.
 */
export function withLangfuseLambda<Arguments extends unknown[], Result>(
  handler: (...args: Arguments) => Result | PromiseLike<Result>,
  options: ServerlessOptions = {},
): (...args: Arguments) => Promise<Result> {
  return async (...args) => {
    const client = options.client ?? getLangfuse();
    const last = args.at(-1);
    const context = isContext(last) ? last : undefined;
    const root = options.traceInvocations === false || !client.enabled ? undefined : startRoot(client, context);
    try {
      return await (root ? withinObservation(root, () => handler(...args)) : handler(...args));
    } catch (error) {
      root?.update(failure(error));
      throw error;
    } finally {
      root?.end();
      const left = (context?.getRemainingTimeInMillis() ?? Infinity) - ANSWER_MS;
      const timeoutMs = Math.max(0, Math.min(options.flush?.timeoutMs ?? LONGEST_FLUSH_MS, left));
      await client.flush({ ...options.flush, timeoutMs });
    }
  };
}

function isContext(value: unknown): value is LambdaContext {
  return typeof value === "object" && value !== null && "getRemainingTimeInMillis" in value;
}

function startRoot(client: Langfuse, context: LambdaContext | undefined): Observation {
  const { functionName = "lambda", awsRequestId } = context ?? {};
  return client.startObservation(functionName, awsRequestId ? { metadata: { awsRequestId } } : {});
}
