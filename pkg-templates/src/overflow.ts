/** A durable overflow: what Langfuse does not take in time waits in a Cloudflare Queue, and is delivered from there. */

import { messageOf } from "./observability.js";

/** The part of a Cloudflare Queue that is used. */
export interface OverflowQueue {
  /** Puts a message into the queue. */
  send(message: unknown, options?: { contentType?: string }): Promise<unknown>;
}

/** What travels through the queue: an encoded body for a path of the server, with the ids and times it had. */
interface OverflowMessage {
  langfuse: 1;
  path: string;
  body: Uint8Array;
}

/** What `flush({ overflow })` takes, over a queue. */
export function overflowTo(queue: OverflowQueue): (path: string, body: Uint8Array) => Promise<boolean> {
  return async (path, body) => {
    try {
      const message: OverflowMessage = { langfuse: 1, path, body };
      // The format that keeps bytes as they are.
      await queue.send(message, { contentType: "v8" });
      return true;
    } catch (error) {
      console.warn(`langfuse-edge: the overflow queue does not accept a message: ${messageOf(error)}`);
      return false;
    }
  };
}

/** A message as a queue delivers it. */
export interface QueueMessage {
  /** What was put into the queue. */
  readonly body: unknown;
  /** How often it was delivered, this time included. */
  readonly attempts: number;
  /** It is done with. */
  ack(): void;
  /** It comes again. */
  retry(options?: { delaySeconds?: number }): void;
}

/** Where a consumer delivers. What is absent comes from the `LANGFUSE_*` variables of the Worker's `env`. */
export interface QueueConsumerOptions {
  /** The project's public key. */
  publicKey?: string;
  /** The project's secret key. */
  secretKey?: string;
  /** The server. Default: https://cloud.langfuse.com */
  baseUrl?: string;
}

type Env = object;

const ATTEMPT_MS = 10_000;
const LONGEST_DELAY_S = 600;

/**
 * A queue handler that delivers what `withLangfuse(handler, { overflow })` has put into the queue: the `queue` of a consumer
 * Worker. What Langfuse takes is acknowledged. What it does not take comes again by the queue's own retries, later each time or when
 * `Retry-After` says so, and goes to its dead-letter queue when those are used up. Nothing is given up here.
 *
 * A message that is delivered twice has the same ids and times, which Langfuse merges.
 */
export function langfuseQueueConsumer(
  options: QueueConsumerOptions = {},
): (batch: { readonly messages: readonly QueueMessage[] }, env: Env) => Promise<void> {
  return async ({ messages }, env) => {
    for (const message of messages) {
      const { retryAfter, problem } = isOverflow(message.body)
        ? await deliver(message.body, options, env as Record<string, unknown>)
        : { problem: "it is not langfuse-edge's" };
      if (problem === undefined) {
        message.ack();
      } else {
        console.warn(`langfuse-edge: a message of the overflow queue is not delivered: ${problem}`);
        message.retry({ delaySeconds: Math.min(retryAfter ?? 2 ** message.attempts, LONGEST_DELAY_S) });
      }
    }
  };
}

function isOverflow(body: unknown): body is OverflowMessage {
  const { langfuse, path, body: bytes } = (body ?? {}) as Partial<OverflowMessage>;
  return langfuse === 1 && typeof path === "string" && path.startsWith("/api/public/") && bytes instanceof Uint8Array;
}

interface Attempt {
  /** Absent when it was delivered. */
  problem?: string;
  /** Seconds. */
  retryAfter?: number | undefined;
}

async function deliver({ path, body }: OverflowMessage, options: QueueConsumerOptions, env: Record<string, unknown>): Promise<Attempt> {
  const setting = (own: string | undefined, ...variables: string[]) =>
    own ?? variables.map((name) => env[name]).find((value): value is string => typeof value === "string" && value !== "");
  const publicKey = setting(options.publicKey, "LANGFUSE_PUBLIC_KEY");
  const secretKey = setting(options.secretKey, "LANGFUSE_SECRET_KEY");
  const baseUrl = setting(options.baseUrl, "LANGFUSE_BASE_URL", "LANGFUSE_BASEURL", "LANGFUSE_HOST") ?? "https://cloud.langfuse.com";
  if (!publicKey || !secretKey) {
    return { problem: "publicKey (LANGFUSE_PUBLIC_KEY) or secretKey (LANGFUSE_SECRET_KEY) is not set" };
  }
  try {
    const response = await fetch(baseUrl.replace(/\/$/, "") + path, {
      method: "POST",
      headers: {
        authorization: `Basic ${btoa(`${publicKey}:${secretKey}`)}`,
        "content-type": path.includes("/otel/") ? "application/x-protobuf" : "application/json",
        "x-langfuse-ingestion-version": "4",
        "x-langfuse-sdk-name": "langfuse-edge",
        "x-langfuse-public-key": publicKey,
      },
      body: body as Uint8Array<ArrayBuffer>,
      redirect: "manual",
      signal: AbortSignal.timeout(ATTEMPT_MS),
    });
    const text = await response.text();
    const isDelivered = response.ok && !(response.status === 207 && hasErrors(text));
    return isDelivered ? {} : { problem: `HTTP ${response.status}`, retryAfter: seconds(response.headers.get("retry-after")) };
  } catch (error) {
    return { problem: messageOf(error) };
  }
}

/** Of scores some were refused. Sent again, those that were taken are the same scores. */
function hasErrors(text: string): boolean {
  try {
    return (JSON.parse(text) as { errors: unknown[] }).errors.length > 0;
  } catch {
    return true;
  }
}

function seconds(retryAfter: string | null): number | undefined {
  return retryAfter && /^\d+$/.test(retryAfter) ? Number(retryAfter) : undefined;
}
