// A Worker with one client for all its requests. Each request records, and flushes in the way that it asks for.
import { instances, spoilMemory } from "../support/traps.mjs";
import { Langfuse, setLangfuse, step } from "langfuse-edge";

// Each test gives its own.
import options from "./options.mjs";

// What a request does not flush is not to be flushed behind its back.
const langfuse = new Langfuse({ ...options.client, waitUntil: options.registers ? undefined : false });
setLangfuse(langfuse);

const startup = options.recordsAtStartup ? record("startup", 3) : [];
/** Plain data of the whole isolate. */
const state = { finished: [], reports: [], startup };
if (options.recordsAtStartup) langfuse.flush().then((report) => void state.reports.push({ name: "startup", ...report }));

function record(name, count) {
  const ids = [];
  for (let n = 0; n < count; n++) {
    const root = langfuse.startObservation(name, { input: { n } });
    const child = root.startObservation(`${name} child`, {}, { asType: "tool" });
    child.end();
    root.end();
    ids.push(child.id, root.id);
  }
  return ids;
}

/** Steps that name their parent, and one that relies on the host to know it. */
const steps = () =>
  step("root", async (parent) => {
    await step("explicit", () => scheduler.wait(1), { parent });
    await step("implicit", () => scheduler.wait(1));
  });

const flushes = {
  none: () => {},
  forget: (_, options) => void langfuse.flush(options),
  await: (_, options) => langfuse.flush(options),
  waitUntil: (ctx, options, name) =>
    ctx.waitUntil(langfuse.flush(options).then((report) => void state.reports.push({ name, ...report }))),
};

/** Ways to be terminated, as a request is that uses too much CPU time: within JavaScript, and above a frame of wasm. */
const terminations = {
  "after the flush began": (flush) => {
    flush();
    process.exit();
  },
  "in fetch": (flush) => exitIn(globalThis, "fetch", flush),
  "in Date.now": (flush) => exitIn(Date, "now", flush),
  "below 100 wasm frames": () => nest(100, () => process.exit()),
};

/** Calls `act` from a getter that wasm calls, below which there are so many calls of the client. */
function nest(depth, act) {
  const nested = { get below() { return depth > 0 ? nest(depth - 1, act) : act(); } };
  langfuse.score.create({ name: "nest", value: 1, traceId: "0af7651916cd43dd8448eb211c80319c", metadata: nested });
}

function exitIn(object, name, flush) {
  const original = object[name];
  object[name] = () => {
    if (!new Error().stack.includes("wasm")) return original();
    object[name] = original;
    process.exit();
  };
  flush();
}

export default {
  async fetch(request, _, ctx) {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/state") return Response.json({ ...state, instances: instances.length });
    if (pathname === "/steps") return new Response(await steps());
    if (pathname === "/hang") await new Promise(() => {});
    const { name = "one", count = 1, flush = "none", timeoutMs, terminated, trap } = Object.fromEntries(searchParams);
    if (trap) spoilMemory();
    const ids = record(name, Number(count));
    if (terminated) terminations[terminated](() => langfuse.flush());
    const report = await flushes[flush](ctx, timeoutMs && { timeoutMs: Number(timeoutMs) }, name);
    state.finished.push(name);
    return Response.json({ ids, report });
  },
};
