// A Worker that is traced by `withLangfuse` and flushes nothing itself.
import { DurableObject, WorkerEntrypoint } from "cloudflare:workers";
import { startActiveObservation, startObservation, withLangfuse } from "langfuse-edge";

const encoder = new TextEncoder();

/** Parts that come one by one. */
const stream = (parts, ms) =>
  new ReadableStream({
    async pull(controller) {
      if (parts-- === 0) return controller.close();
      await scheduler.wait(ms);
      controller.enqueue(encoder.encode(`part ${parts}\n`));
    },
  });

const routes = {
  "/ok": () => {
    startObservation("child").end();
    return new Response("ok");
  },
  "/async": () => startActiveObservation("active", () => scheduler.wait(5)).then(() => Response.json({ ok: true }, { status: 201 })),
  "/error": () => {
    throw new TypeError("no such thing");
  },
  "/rejected": async () => {
    await scheduler.wait(1);
    throw new TypeError("not now");
  },
  "/503": () => new Response("later", { status: 503 }),
  "/stream": () => new Response(stream(20, 20), { headers: { "content-type": "text/event-stream" } }),
  "/endless": () => new Response(stream(Infinity, 20)),
  "/slow": async () => {
    startObservation("child").end();
    await scheduler.wait(300);
    return new Response("slow");
  },
  "/rpc": async (request, env) => {
    const counter = env.COUNTER.get(env.COUNTER.idFromName("one"));
    return Response.json([await env.SELF.add(1, 2), await counter.increment()]);
  },
  "/traceparent": (request, env, ctx, observation) => new Response(observation.traceparent),
};

const options = {
  overflow: (env) => env.OVERFLOW,
  flush: { timeoutMs: 2000 },
};

export default withLangfuse({
  fetch: (request, env, ctx, observation) => routes[new URL(request.url).pathname](request, env, ctx, observation),
  async scheduled(event) {
    startObservation("job").end();
    if (event.cron === "0 0 * * *") throw new Error("at midnight");
  },
  async queue(batch) {
    for (const message of batch.messages) {
      if (message.body === "bad") message.retry();
      else if (message.body === "good") message.ack();
    }
  },
}, options);

export const Adder = withLangfuse(
  class Adder extends WorkerEntrypoint {
    add(one, other) {
      startObservation("sum").end();
      return one + other;
    }
    fetch() {
      return new Response("from a class");
    }
  },
);

export const Counter = withLangfuse(
  class Counter extends DurableObject {
    async increment() {
      const count = ((await this.ctx.storage.get("count")) ?? 0) + 1;
      await this.ctx.storage.put("count", count);
      await this.ctx.storage.setAlarm(Date.now() + 10);
      return count;
    }
    alarm() {
      startObservation("in the alarm").end();
    }
  },
);
