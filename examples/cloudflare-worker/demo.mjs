#!/usr/bin/env node
// Runs the email Worker of this folder in workerd, feeds it the example messages and compares the traces that arrive
// at a receiver (`langfuse-edge dev`) with the committed expectation.
import { readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { lineDiff, observationLines } from "./demo/line-diff.mjs";
import { Receiver } from "./demo/receiver.mjs";
import { StepByStep } from "./demo/step-by-step.mjs";
import { bundleWorker, WorkerHost } from "./demo/worker-host.mjs";
import { startLlmEndpoint } from "./llm-endpoint.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const FLUSH_DEADLINE_MS = 25_000;
const MAX_DIFF_LINES = 80;
const ENVELOPE = { from: "bounce@example.org", to: "support@example.com" };

const USAGE = `usage: demo.mjs --receiver URL --public-key KEY --secret-key KEY [options]

  --emails DIR            messages to feed, in name order (default: examples/emails)
  --expected FILE         trees to compare with (default: expected-trees.txt in the directory of the messages)
  --llm-fail SUBJECT      the LLM endpoint answers 500 for mails with SUBJECT in their subject
  --no-openai-key         run the Worker without OPENAI_API_KEY
  --no-langfuse-key       run the Worker without Langfuse keys
  --update-expected       for developers: write what arrived to the expected file instead of comparing

Environment: FLUSH_TIMEOUT_MS, deadline of the Worker's own flushes (default 5000).
Exit code: 0 when what arrived equals the expectation and every observation arrived exactly once, else 1.`;

const options = readOptions();

function readOptions() {
  try {
    return parseArgs({
      options: {
        receiver: { type: "string" },
        "public-key": { type: "string" },
        "secret-key": { type: "string" },
        emails: { type: "string", default: join(HERE, "../emails") },
        expected: { type: "string" },
        "llm-fail": { type: "string" },
        "no-openai-key": { type: "boolean", default: false },
        "no-langfuse-key": { type: "boolean", default: false },
        "update-expected": { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    console.error(`demo: ${error.message} (see --help)`);
    process.exit(1);
  }
}

function report(error) {
  console.error(`demo: ${error.message}`);
  return 1;
}

async function run() {
  for (const name of ["receiver", "public-key", "secret-key"]) {
    if (!options[name]) throw new Error(`--${name} is missing (see --help)`);
  }
  const expectedFile = options.expected ?? join(options.emails, "expected-trees.txt");
  const expected = options["update-expected"] ? "" : await readFile(expectedFile, "utf8");
  const messages = (await readdir(options.emails)).filter((name) => name.endsWith(".eml")).sort();
  if (messages.length === 0) throw new Error(`no .eml files in ${options.emails}`);

  const receiver = new Receiver(options.receiver);
  const before = await receiver.state().catch((error) => {
    throw new Error(`no receiver at ${options.receiver}: ${error.cause?.message ?? error.message}`);
  });
  if (before.observations > 0) {
    throw new Error(`the receiver already holds ${before.observations} observations; start a fresh one`);
  }

  const stepByStep = new StepByStep(receiver);
  const llm = await startLlmEndpoint({ failSubject: options["llm-fail"], onCall: (name) => stepByStep.asks(name) });
  let delivery;
  try {
    delivery = await deliverAll(messages, receiver, llm, stepByStep);
  } finally {
    await llm.close();
  }
  const { fed, flushReport, receiverGone } = delivery;
  if (!flushReport.ok || receiverGone) {
    console.log(
      `\n${fed} of ${messages.length} messages; ${receiverGone ? "the receiver is gone" : "not everything was delivered"}: ` +
        `${flushReport.retained} observations retained in the Worker, ${flushReport.dropped} dropped, ${flushReport.rejected.length} rejected`,
    );
  }
  if (receiverGone) return 1;
  return compare({ expected, expectedFile, fed, messages: messages.length, receiver, stepByStep });
}

/** Runs the Worker over all messages and flushes it. */
async function deliverAll(messages, receiver, llm, stepByStep) {
  const flushTimeoutMs = Number(process.env.FLUSH_TIMEOUT_MS) || 5_000;
  const log = new WorkerLog();
  const host = await WorkerHost.start(await bundleWorker(), bindings(llm.url, flushTimeoutMs), (entry) => log.write(entry));

  // A receiver that has gone away costs one flush deadline in all: what is left of it after the last flush is for the messages.
  const patience = new AbortController();
  let receiverGone = false;
  let patienceTimer;
  const stopWatch = receiver.watch(() => {
    receiverGone = true;
    console.log("      the receiver does not answer any more; the Worker keeps what it records");
    patienceTimer = setTimeout(() => patience.abort(), Math.max(0, FLUSH_DEADLINE_MS - flushTimeoutMs));
  });

  let fed = 0;
  try {
    for (const [index, name] of messages.entries()) {
      if (patience.signal.aborted) break;
      const raw = await readFile(join(options.emails, name));
      await stepByStep.begin();
      const outcome = await deliver(host, raw, log, patience.signal);
      console.log(`[${String(index + 1).padStart(2)}/${messages.length}] ${name.padEnd(36)} ${outcome}`);
      // Of one message; the others are alike.
      if (index === 0) for (const line of stepByStep.lines()) console.log(`      ${line}`);
      if (!patience.signal.aborted) fed += 1;
    }
    const flushReport = await host.flush(AbortSignal.timeout(FLUSH_DEADLINE_MS));
    log.printRest();
    return { fed, flushReport, receiverGone };
  } finally {
    stopWatch();
    clearTimeout(patienceTimer);
    await host.stop();
  }
}

async function deliver(host, raw, log, signal) {
  const timeout = AbortSignal.any([signal, AbortSignal.timeout(FLUSH_DEADLINE_MS)]);
  const line = log.nextOutcome(timeout);
  try {
    await host.deliver(raw, ENVELOPE.from, ENVELOPE.to, timeout);
  } catch (error) {
    log.forget();
    return timeout.aborted ? "not finished in time" : `failed: ${error.message}`;
  }
  return line;
}

function bindings(llmUrl, flushTimeoutMs) {
  return {
    LANGFUSE_BASE_URL: options.receiver,
    ...(!options["no-langfuse-key"] && {
      LANGFUSE_PUBLIC_KEY: options["public-key"],
      LANGFUSE_SECRET_KEY: options["secret-key"],
    }),
    OPENAI_BASE_URL: llmUrl,
    OPENAI_MODEL: "gpt-4o-mini",
    ...(!options["no-openai-key"] && { OPENAI_API_KEY: "scripted-endpoint" }),
    FALLBACK_ADDRESS: "team@example.com",
    FLUSH_TIMEOUT_MS: String(flushTimeoutMs),
  };
}

/** The Worker writes one line per message (its outcome) and whatever the libraries in it have to say. */
class WorkerLog {
  #waiting;
  #outcomes = [];

  write({ level, message }) {
    if (level === "warn") return console.log(`      warning: ${message}`);
    if (this.#waiting) this.#waiting(message);
    else this.#outcomes.push(message);
    this.#waiting = undefined;
  }

  /** The line may come a moment after the handler has ended: it travels through workerd's output. */
  nextOutcome(signal) {
    return new Promise((resolve) => {
      this.#waiting = resolve;
      signal.addEventListener("abort", () => resolve("not finished in time"), { once: true });
    });
  }

  forget() {
    this.#waiting = undefined;
  }

  printRest() {
    for (const message of this.#outcomes.splice(0)) console.log(`      Worker: ${message}`);
  }
}

async function compare({ expected, expectedFile, fed, messages, receiver, stepByStep }) {
  console.log(`\n${(await receiver.trees()).trimEnd()}\n`);
  const received = await receiver.trees({ normalized: true });
  const state = await receiver.state();
  if (options["update-expected"]) {
    await writeFile(expectedFile, received);
    console.log(`wrote ${observationLines(received).length} observations to ${relative(".", expectedFile)}`);
  }
  const reference = options["update-expected"] ? received : expected;
  const count = observationLines(reference).length;
  const equal = received === reference;
  if (!equal) {
    const diff = lineDiff(reference, received).split("\n");
    const rest = diff.length > MAX_DIFF_LINES ? `\n  ... and ${diff.length - MAX_DIFF_LINES} more lines` : "";
    console.log(`What arrived (+) is not what ${relative(".", expectedFile)} expects (-):`);
    console.log(`${diff.slice(0, MAX_DIFF_LINES).join("\n")}${rest}\n`);
  }
  console.log(`${stepByStep.total} of ${state.observations} observations were there before their message was answered`);
  console.log(
    `${fed} of ${messages} messages, ${count} observations expected, ${state.observations} received, ` +
      `${state.duplicates} duplicates, ${state.requests} requests`,
  );
  return equal && fed === messages && state.observations === count && state.duplicates === 0 ? 0 : 1;
}

if (options.help) {
  console.log(USAGE);
} else {
  // Everything is closed when run() settles; exit() is for sockets that a stopped workerd left half open.
  process.exit(await run().catch(report));
}
