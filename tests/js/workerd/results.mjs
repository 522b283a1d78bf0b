// A Worker whose handlers are observed: what they give, and which observation is the current one in which request.
import { getActiveSpanId, Langfuse, observe, propagateAttributes, setLangfuse, startActiveObservation, startObservation } from "langfuse-edge";

// Each test gives its own.
import options from "./options.mjs";

const langfuse = new Langfuse(options.client);
const other = new Langfuse(options.client);
setLangfuse(langfuse);

/** Plain data of the whole isolate. */
const state = { cancelled: [], waitedFor: 0 };

const bytes = (text) => new TextEncoder().encode(text);

/** `count` chunks, one every millisecond; without an end when `count` is 0. */
function chunks(name, count, type) {
  let n = 0;
  return new ReadableStream({
    type,
    async pull(controller) {
      await scheduler.wait(1);
      if (count && n === count) {
        controller.close();
        controller.byobRequest?.respond(0);
      } else {
        controller.enqueue(bytes(`${n++} `));
      }
    },
    cancel: (reason) => void state.cancelled.push(`${name}: ${reason}`),
  }, { highWaterMark: 0 });
}

const handlers = {
  stream: ({ name, count }) => new Response(chunks(name, Number(count)), { status: 201, headers: { "x-own": "1" } }),
  bytes: ({ name, count }) => new Response(chunks(name, Number(count), "bytes")),
  text: () => new Response("whole", { headers: { "content-type": "text/plain" } }),
  empty: () => new Response(null, { status: 204 }),
  redirect: () => Response.redirect("http://elsewhere.test/", 302),
  through: () => new Response(chunks("through", 3).pipeThrough(new TransformStream())),
  identity: async () => {
    const { readable, writable } = new IdentityTransformStream();
    chunks("identity", 3).pipeTo(writable);
    return new Response(readable);
  },
  upstream: ({ url }) => fetch(url),
  broken: () => {
    let n = 0;
    return new Response(new ReadableStream({ pull: (c) => (n++ ? c.error(new Error("broken")) : c.enqueue(bytes("a"))) }));
  },
};

/** Ways to hand on a stream that is observed, with nothing left that refers to it. */
const ways = {
  piped: (stream) => stream.pipeThrough(new TransformStream()),
  "in two": (stream) => stream.tee()[0],
  cloned: (stream) => new Response(stream).clone().body,
  "in another": (stream) => {
    const reader = stream.getReader();
    return new ReadableStream({
      async pull(controller) {
        const { value, done } = await reader.read();
        if (done) controller.close();
        else controller.enqueue(value);
      },
    });
  },
};

/** What consumes a stream inside of the Worker. */
const consumers = {
  async byob({ name }) {
    const stream = observe(() => chunks(name, 3, "bytes"), { name })();
    const reader = stream.getReader({ mode: "byob" });
    let text = "";
    for (let step; !(step = await reader.read(new Uint8Array(64))).done; ) text += new TextDecoder().decode(step.value);
    return text;
  },
  async tee({ name }) {
    const [left, right] = observe(() => chunks(name, 3), { name })().tee();
    const texts = await Promise.all([left, right].map((stream) => new Response(stream).text()));
    return texts.join("|");
  },
  async left({ name }) {
    for await (const chunk of observe(() => chunks(name, 0), { name })()) return new TextDecoder().decode(chunk);
  },
  /** Which observation is current before and after others had their turn. */
  async context({ name, waitMs }) {
    const seen = {};
    await propagateAttributes({ userId: name }, () =>
      startActiveObservation(name, async (own) => {
        seen.before = getActiveSpanId() === own.id;
        await scheduler.wait(Number(waitMs));
        seen.after = getActiveSpanId() === own.id;
        startObservation(`below ${name}`).end();
        own.startObservation(`explicit below ${name}`).end();
        await startActiveObservation(`other's ${name}`, async () => {
          await scheduler.wait(Number(waitMs));
          langfuse.startObservation(`again below ${name}`).end();
        }, { client: other });
      }),
    );
    seen.outside = getActiveSpanId() ?? null;
    return JSON.stringify(seen);
  },
  async flush() {
    return JSON.stringify([await langfuse.flush(), await other.flush()]);
  },
  state: () => JSON.stringify(state),
  /** Fills the heap, so that what nobody holds is collected. */
  async collect() {
    const heap = Array.from({ length: 300 }, () => [new Uint8Array(200_000).fill(1), Array(20_000).fill({})]);
    heap.length = 0;
    await scheduler.wait(10);
    return "collected";
  },
};

export default {
  fetch(request, _, ctx) {
    const { pathname, searchParams } = new URL(request.url);
    const what = pathname.slice(1);
    const query = { name: what, ...Object.fromEntries(searchParams) };
    if (consumers[what]) return Promise.resolve(consumers[what](query)).then((text) => new Response(text));
    if (query.way) return new Response(ways[query.way](observe(() => chunks(what, Number(query.count)), query)()));
    const { waitUntil } = ctx;
    ctx.waitUntil = (promise) => (state.waitedFor++, waitUntil.call(ctx, promise));
    return observe(handlers[what], { name: query.name })(query);
  },
};
