/**
 * What a long-lived process has and a request, an isolate or a page has not: sending without being asked, an end to flush
 * at, signals, and an environment of its own. Hosts without get `no-process.ts` for it: see the imports of package.json.
 */

import type { FlushOptions, FlushReport } from "./core.js";
import { hostsKeeper } from "./hosts.js";
import type { SignalOptions } from "./lifecycle.js";
import { registerFlush, type Recorder } from "./register.js";
import { sentenceOf } from "./report.js";
import { shared } from "./shared.js";

export { send } from "./node-http.js";

/** The part of a client that is used. */
export interface Sender {
  readonly isEnabled: boolean;
  /** Never rejects. */
  flush(method: "flush", options: FlushOptions): Promise<FlushReport>;
}

/** What the core tells of a client. */
export interface Account {
  /** How many records wait or are in flight: written whenever that changes. */
  held: number;
  readonly LANGFUSE_FLUSH_AT?: string;
  readonly LANGFUSE_FLUSH_INTERVAL?: string;
}

/** Of a flush that nobody asked for. One that is under way when a program is done delays its end for as long. */
const BACKGROUND_FLUSH_MS = 10_000;
/** Of a flush that the end of a process waits for. */
const LAST_FLUSH_MS = 5000;
const DEFAULT_FLUSH_AT = 100;
const DEFAULT_FLUSH_INTERVAL = 5;

/** The variables in which builds keep the program's revision, as Langfuse's Python client knows them. */
const REVISION = [
  "RENDER_GIT_COMMIT",
  "CI_COMMIT_SHA",
  "CIRCLE_SHA1",
  "SOURCE_VERSION",
  "TRAVIS_COMMIT",
  "GIT_COMMIT",
  "GITHUB_SHA",
  "BITBUCKET_COMMIT",
  "BUILD_SOURCEVERSION",
  "DRONE_COMMIT_SHA",
];

const SIGNALS: NodeJS.Signals[] = ["SIGINT", "SIGTERM"];

const host = globalThis as {
  process?: NodeJS.Process;
  Deno?: {
    unrefTimer(timer: number): void;
    permissions: { querySync(what: { name: "env"; variable: string }): { state: string } };
  };
  navigator?: { userAgent?: string };
};

/** Undefined on hosts that have none, or only what looks like one. A bundle can bring this module there. */
const own = host.navigator?.userAgent !== "Cloudflare-Workers" && host.process?.versions?.node ? host.process : undefined;

/** Calls a function outside of any request: what is sent later is no part of the one that began to wait for it. */
const outside: (act: () => void) => void =
  own?.getBuiltinModule?.("node:async_hooks")?.AsyncLocalStorage?.snapshot?.() ?? ((act) => act());

/** An outage is said once a minute, however many clients there are. */
const WARNING_MS = 60_000;
let lastWarning = -Infinity;

/** Those whose last flush has retained something: their clients live on when nobody else has them. */
const unsent = new Set<Background>();

/** What sends for a client. It lives as long as the client, and keeps it alive only while records wait. */
class Background {
  /** The account in use; those of lost instances say nothing any more. */
  account: Account | undefined;
  /** Says what each flush did. */
  readonly isTalkative = isDebugging();
  #held = 0;
  #flushAt = DEFAULT_FLUSH_AT;
  /** 0 for no timer. Of a client always the same, because Node.js keeps a list of timers for each duration. */
  #intervalMs = 0;
  /** Records that start a flush at once. */
  #full = DEFAULT_FLUSH_AT;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isStarting = false;
  /** Flushes under way, the user's included. */
  #flushes = 0;
  /** The process was about to end, and since then nothing was recorded. */
  #hadLastFlush = false;

  constructor(readonly client: Sender) {}

  keep(account: Account): void {
    this.account = account;
    this.#held = 0;
    this.#flushAt = this.#full = Number(account.LANGFUSE_FLUSH_AT ?? DEFAULT_FLUSH_AT);
    // Up to a fifth shorter, lest processes that began together send together for ever.
    const jitter = 1 - Math.random() / 5;
    this.#intervalMs = 1000 * jitter * Number(account.LANGFUSE_FLUSH_INTERVAL ?? DEFAULT_FLUSH_INTERVAL);
    let { held } = account;
    // Weak, because the core has the account for as long as somebody has the client.
    const reference = new WeakRef<Background>(this);
    Object.defineProperty(account, "held", {
      get: () => held,
      // Called by the core while it records.
      set: (records: number) => {
        held = records;
        const background = reference.deref();
        if (background?.account === account) background.#holds(records);
      },
    });
  }

  flush(options: FlushOptions): Promise<FlushReport> {
    return this.client.flush("flush", options);
  }

  /** A flush of anybody's has begun. */
  async follow(report: Promise<FlushReport>): Promise<void> {
    this.#flushes++;
    this.#stopTimer();
    unsent.delete(this);
    const { retained } = await report;
    this.#flushes--;
    // After a failure the next record starts the timer, or as many again do where there is none. If what is retained did so,
    // the attempts of a few clients would by turns keep a process from its end for as long as a server is down.
    this.#full = !retained ? this.#flushAt : this.#intervalMs ? Infinity : this.#held + this.#flushAt;
    if (retained) unsent.add(this);
    else this.#wait();
  }

  /** The process ends when nothing is done now. */
  flushAtTheEnd(): void {
    if (this.#held && !this.#flushes && !this.#hadLastFlush) {
      this.#hadLastFlush = true;
      this.#flush(LAST_FLUSH_MS);
    }
  }

  #holds(records: number): void {
    if (records > this.#held) this.#hadLastFlush = false;
    this.#held = records;
    this.#wait();
  }

  #wait(): void {
    if (!this.#held || !this.client.isEnabled) {
      this.#stopTimer();
    } else if (this.#flushes || this.#isStarting) {
      return;
    } else if (this.#held >= this.#full) {
      this.#isStarting = true;
      // What is recorded in the same turn travels along, in full batches.
      queueMicrotask(() => {
        this.#isStarting = false;
        if (!this.#flushes) this.#flush(BACKGROUND_FLUSH_MS);
      });
    } else if (!this.#timer && this.#intervalMs) {
      outside(() => {
        this.#timer = setTimeout(() => {
          this.#timer = undefined;
          if (!this.#flushes) this.#flush(BACKGROUND_FLUSH_MS);
        }, this.#intervalMs);
      });
      unref(this.#timer);
    }
  }

  #flush(timeoutMs: number): void {
    if (!this.#held || !this.client.isEnabled) return;
    outside(async () => {
      const report = await this.flush({ timeoutMs });
      if (!report.ok && Date.now() - lastWarning > WARNING_MS) {
        lastWarning = Date.now();
        warn(sentenceOf(report));
      }
    });
  }

  #stopTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

/** A process may end while it is set. Web timers, as Deno has them, are numbers. */
function unref(timer: ReturnType<typeof setTimeout> | number | undefined): void {
  if (typeof timer === "number") host.Deno?.unrefTimer(timer);
  else timer?.unref?.();
}

const backgrounds = new WeakMap<Sender, Background>();

/** From now on what the client records is sent without being asked for. */
export function attend(client: Sender, account: Account): void {
  if (!own || !client.isEnabled) return;
  let background = backgrounds.get(client);
  if (!background) {
    background = new Background(client);
    backgrounds.set(client, background);
    register(own, background);
  }
  background.keep(account);
}

/** Something was recorded: where the process may be frozen, a flush is registered, beside those that the process has time for. */
export function recorded(client: Recorder): void {
  const host = hostsKeeper();
  if (host || client.waitUntil) registerFlush(client, host);
}

/** A flush of the client's has begun. */
export function follow(client: Sender, report: Promise<FlushReport>): void {
  const background = backgrounds.get(client);
  void background?.follow(report);
  if (background?.isTalkative) void report.then((report) => console.debug(sentenceOf(report)));
}

/** All copies of this module in a process have one list, of weak references, and one listener. */
function register(process: NodeJS.Process, background: Background): void {
  const state = shared();
  if (!state.senders) {
    const senders = (state.senders = new Set());
    state.collected = new FinalizationRegistry((reference) => senders.delete(reference));
    process.on("beforeExit", () => {
      for (const sender of senders) sender.deref()?.flushAtTheEnd();
    });
  }
  const reference = new WeakRef(background);
  state.senders.add(reference);
  state.collected?.register(background, reference);
}

/** The variables of an environment, or without one those of the process, with what builds and options say besides. */
export function environment(env: unknown, options: { exportMode?: unknown } | null | undefined): object | undefined {
  const given = typeof env === "object" && env ? (env as Record<string, unknown>) : undefined;
  if (!own) return given;
  const mode = options?.exportMode ?? "batched";
  if (mode !== "batched" && mode !== "immediate") {
    throw new Error("langfuse-edge: exportMode must be immediate or batched");
  }
  const get = (_: object, name: string): string | undefined => {
    if (name === "LANGFUSE_FLUSH_AT" && mode === "immediate") return "1";
    const value = read(given ?? own.env, name);
    if (name !== "LANGFUSE_RELEASE" || value?.trim()) return value;
    const revisions = REVISION.map((name) => (given ? read(given, name) : knownVariable(name)));
    return revisions.find((revision) => revision?.trim());
  };
  return new Proxy({}, { get });
}

/** Deno throws when a variable is not to be read. */
function read(env: Record<string, unknown>, name: string): string | undefined {
  try {
    const value = env[name];
    return typeof value === "string" ? value : undefined;
  } catch {
    return undefined;
  }
}

/** A variable of the process that nobody is asked for: Deno would ask the user. */
function knownVariable(name: string): string | undefined {
  const permission = host.Deno?.permissions.querySync({ name: "env", variable: name });
  return own && (permission?.state ?? "granted") === "granted" ? read(own.env, name) : undefined;
}

function isDebugging(): boolean {
  return knownVariable("LANGFUSE_LOG_LEVEL") === "DEBUG" || /^(true|1)$/i.test(knownVariable("LANGFUSE_DEBUG") ?? "");
}

/** Says something on the console, unless `LANGFUSE_LOG_LEVEL=ERROR` is for silence. */
export function warn(message: string): void {
  if (knownVariable("LANGFUSE_LOG_LEVEL") !== "ERROR") console.warn(message);
}

/** See `lifecycle.ts`. */
export function flushOnSignals({ timeoutMs = LAST_FLUSH_MS, clients }: SignalOptions = {}): () => void {
  if (!own) return () => {};
  const process = own;
  const state = shared();
  const hooks = (state.hooks ??= new Set());
  let isRemoved = false;

  // In front of the others, of which those that are called once would be gone. Deno calls all in the order in which they came.
  const install = () =>
    SIGNALS.forEach((signal) => {
      const others = host.Deno ? process.rawListeners(signal) : [];
      others.forEach((listener) => process.off(signal, listener as NodeJS.SignalsListener));
      process.prependListener(signal, hook);
      others.forEach((listener) => process.on(signal, listener as NodeJS.SignalsListener));
    });
  const uninstall = () => SIGNALS.forEach((signal) => process.off(signal, hook));

  async function hook(signal: NodeJS.Signals): Promise<void> {
    const others = process.listeners(signal).filter((listener) => !hooks.has(listener));
    // Another signal does now what it would have done: without other listeners it ends the process at once.
    uninstall();
    state.ending = (state.ending ?? 0) + 1;
    const flushed = clients ? [...clients] : [...(state.senders ?? [])].map((reference) => reference.deref());
    await Promise.allSettled(flushed.map((client) => client?.flush({ timeoutMs })));
    state.ending--;
    if (others.length) {
      if (!isRemoved) install();
    } else if (!state.ending) {
      // As it ends a process that has no listener for it.
      process.kill(process.pid, signal);
    }
  }

  hooks.add(hook);
  install();
  return () => {
    isRemoved = true;
    hooks.delete(hook);
    uninstall();
  };
}
