// The Workers of one scenario, in one workerd, and the receiver that they deliver to.

import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { supportedCompatibilityDate as NEWEST } from "miniflare";

import { ROOT } from "../js/support/program.mjs";
import { startReceiver, variablesFor } from "../js/support/receiver.mjs";
import { until } from "../js/support/until.mjs";
import { bundle, isComplaint, workersFor } from "../js/support/workerd.mjs";

const own = (name) => new URL(`workers/${name}`, import.meta.url);
const others = (name) => new URL(`../js/workerd/${name}`, import.meta.url);
const bundles = Promise.all([
  bundle(own("traced.mjs")),
  bundle(own("plain.mjs")),
  bundle(others("gateway.mjs")),
  bundle(others("consumer.mjs")),
  bundle(others("worker.mjs"), ["./options.mjs"]),
  bundle(own("unwrapped.mjs"), ["./env.mjs"]),
  bundle(pathToFileURL(join(process.env.LANGFUSE_EDGE_RUST_EXAMPLE ?? join(ROOT, "target/rust-worker-example"), "index.js"))),
]);

const data = (path, value) => ({ type: "ESModule", path, contents: `export default ${JSON.stringify(value)}` });

/**
 * Starts them: `traced` with `withLangfuse`, `plain` without anything, `unwrapped` that only records,
 * `byHand` that flushes as each request asks, `rust`, which is examples/rust-worker, `other` as
 * `traced`, and `consumer` of the overflow queue.
 */
export async function startHost({ compatibilityDate = NEWEST, compatibilityFlags = ["nodejs_compat"], bindings = {}, byHand = {}, first = "gateway", hasOverflow = true } = {}) {
  const cleanups = [];
  const t = { after: (cleanup) => cleanups.push(cleanup) };
  const receiver = await startReceiver();
  t.after(() => receiver.stop("SIGKILL"));
  const [traced, plain, gateway, consumer, worker, unwrapped, rust] = await bundles;
  const env = {
    ...variablesFor(receiver.url),
    LANGFUSE_TIMEOUT: "1",
    BUDGET_MS: 3000,
    ...bindings,
  };
  const { recordsAtStartup, ...client } = byHand;
  const options = { client: { ...receiver.options, timeout: 1, ...client }, recordsAtStartup };
  const queue = { maxBatchTimeout: 1, maxRetries: 5 };
  const tracedWorker = (name, more) => ({ name, modules: traced, bindings: env, durableObjects: { ROOM: { className: "Room", useSQLite: true } }, ...more });
  const workers = [
    { name: "gateway", modules: gateway, serviceBindings: { traced: "traced", plain: "plain", byHand: "byHand", unwrapped: "unwrapped", rust: "rust" } },
    tracedWorker("traced", {
      serviceBindings: { ADDER: { name: "traced", entrypoint: "Adder" }, OTHER: "other" },
      queueProducers: { MAILS: "mails", ...(hasOverflow && { OVERFLOW: "overflow" }) },
      queueConsumers: { mails: { ...queue, maxBatchSize: 3 } },
    }),
    tracedWorker("other"),
    { name: "plain", modules: plain, serviceBindings: { OTHER: "plain" } },
    { name: "unwrapped", modules: [...unwrapped, data("env.mjs", env)], durableObjects: { ROOM: { className: "Room", useSQLite: true } } },
    { name: "byHand", modules: [...worker, data("options.mjs", options)] },
    { name: "rust", modules: rust, bindings: env },
    { name: "consumer", modules: consumer, bindings: env, queueConsumers: { overflow: { ...queue, maxBatchSize: 10, maxBatchTimeout: 0 } } },
  ];
  const compatibility = { compatibilityDate, compatibilityFlags };
  const { url, lines, miniflare } = await workersFor(t, compatibility, workers.toSorted((a, b) => Number(b.name === first) - Number(a.name === first)));
  const delays = [];
  let visits = 0;

  const get = async (path) => {
    const response = await fetch(new URL(path, url), { signal: AbortSignal.timeout(20_000) });
    const text = await response.text();
    if (!response.ok) throw new Error(`${path} answered ${response.status}: ${text.slice(0, 200)}`);
    return text;
  };
  /** Milliseconds until the answer begins, as its client sees it, and the answer. */
  const timed = async (path) => {
    const begun = performance.now();
    const response = await fetch(new URL(path, url), { signal: AbortSignal.timeout(20_000) });
    const ms = performance.now() - begun;
    return { ms, text: await response.text() };
  };
  return {
    receiver,
    miniflare,
    lines,
    url,
    delays,
    get,
    /** A Worker's answer. The plain one is asked beside, by turns before and after, for the time that it takes. */
    async visit(path, worker = "traced") {
      const before = visits++ % 2 === 0 && (await timed(`plain/${path}`));
      const traced = await timed(`${worker}/${path}`);
      const plain = before || (await timed(`plain/${path}`));
      delays.push(traced.ms - plain.ms);
      return traced.text;
    },
    /** Of the Worker that flushes by hand. */
    byHand: async (query) => JSON.parse(await get(`byHand/?${new URLSearchParams(query)}`)),
    state: async () => JSON.parse(await get(`byHand/state`)),
    /** A request that is left alone as soon as the receiver has got what it sent. */
    async cancelled(path) {
      const outcome = await get(`${path}${path.includes("?") ? "&" : "?"}${new URLSearchParams({ cancelWhen: `${receiver.url}/dev/state` })}`);
      if (outcome !== "cancelled") throw new Error(`the request to be cancelled was ${outcome}`);
    },
    stats: async () => JSON.parse(await get("traced/stats")),
    arrived: (rows, ms) => until(async () => (await receiver.state()).rows >= rows, ms),
    complaints: () => lines.filter(isComplaint),
    async stop() {
      for (const cleanup of cleanups) await cleanup();
    },
  };
}
