/**
 * Requests of Node.js through `node:http`, which costs half of what its `fetch` does, and nothing to load. Whoever has replaced
 * `fetch`, or what that sends by, is heeded: then it is `fetch`.
 */

import type { IncomingMessage, RequestOptions } from "node:http";

/** What the core makes a request of. */
interface Init extends RequestInit {
  readonly headers: Record<string, string>;
  readonly body: Uint8Array<ArrayBuffer>;
  readonly signal: AbortSignal;
}

/** What the core reads of an answer. */
interface Answer {
  readonly status: number;
  readonly headers: Pick<Headers, "get">;
  text(): Promise<string>;
}

/** A URL as `node:http` wants it. */
interface Target {
  readonly origin: string;
  readonly isSecure: boolean;
  readonly options: RequestOptions;
}

/** By what Node's `fetch` sends: absent until it is used first, and another class than its own where a proxy was set. */
const DISPATCHER = Symbol.for("undici.globalDispatcher.1");

const host = globalThis as { process?: NodeJS.Process; [DISPATCHER]?: object };

/** Servers that `fetch` has reached and `node:http` could not, as with a certificate authority that only `fetch` was given. */
const reachedByFetch = new Set<string>();

/** By URL, of which a client has two. */
const targets = new Map<string, Target>();

/** As `fetch`, of a POST. */
export function send(url: string, init: Init): Promise<Answer> {
  const target = isFetchAsNodeHasIt() && targetOf(url);
  return target && !reachedByFetch.has(target.origin) ? post(target, url, init) : fetch(url, init);
}

function isFetchAsNodeHasIt(): boolean {
  const dispatcher = host[DISPATCHER];
  return (
    !!host.process?.getBuiltinModule &&
    (!dispatcher || dispatcher.constructor.name === "Agent") &&
    Function.prototype.toString.call(fetch).includes("internal/deps/undici")
  );
}

function targetOf(text: string): Target {
  let target = targets.get(text);
  if (!target) {
    const url = new URL(text);
    const { urlToHttpOptions } = host.process!.getBuiltinModule("node:url");
    const { protocol, hostname, port, path } = urlToHttpOptions(url);
    target = { origin: url.origin, isSecure: protocol === "https:", options: { protocol, hostname, port, path, method: "POST" } };
    targets.set(text, target);
  }
  return target;
}

/** By the agent of the whole process, which may be one for a proxy. */
function post(target: Target, url: string, init: Init): Promise<Answer> {
  const { body, signal } = init;
  const { isSecure } = target;
  const { request } = host.process!.getBuiltinModule(isSecure ? "node:https" : "node:http");
  const headers = { accept: "*/*", "user-agent": "langfuse-edge", ...init.headers, "content-length": body.byteLength };
  return new Promise((resolve, reject) => {
    let isConnected = false;
    const sent = request({ ...target.options, headers });
    // Given to `request`, a signal costs as much as half of what else that does.
    signal.addEventListener("abort", () => sent.destroy(signal.reason as Error));
    sent.on("socket", (socket) => {
      isConnected = !socket.connecting;
      if (!isConnected) {
        socket.once(isSecure ? "secureConnect" : "connect", () => (isConnected = true));
      }
    });
    sent.on("response", (response) => resolve(answerOf(response)));
    sent.on("error", (error) => {
      if (isConnected || signal.aborted) {
        reject(error);
      } else {
        resolve(reachByFetch(target, url, init));
      }
    });
    sent.end(body);
  });
}

async function reachByFetch({ origin }: Target, url: string, init: Init): Promise<Answer> {
  const answer = await fetch(url, init);
  reachedByFetch.add(origin);
  return answer;
}

function answerOf(response: IncomingMessage): Answer {
  const text = textOf(response);
  // Of an answer that is not read: its flush is lost.
  text.catch(() => {});
  return {
    status: response.statusCode ?? 0,
    headers: { get: (name) => response.headers[name]?.toString() ?? null },
    text: () => text,
  };
}

/** Without an iterator over the parts, which costs more than they do. */
function textOf(response: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    response.on("data", (part: Buffer) => parts.push(part));
    response.on("end", () => resolve(Buffer.concat(parts).toString()));
    response.on("error", reject);
    response.on("close", () => reject(new Error("the answer ends too early")));
  });
}
