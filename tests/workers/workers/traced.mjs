// The Worker with `withLangfuse`: it flushes nothing itself.
import { DurableObject, WorkerEntrypoint } from "cloudflare:workers";
import { flushLangfuse, getLangfuse, observe, withLangfuse } from "langfuse-edge";

import { withBudget } from "./budget.mjs";
import { handlersOf } from "./handlers.mjs";

const step = (name, input, act) => observe(() => act(), { name })(input);

const handlers = handlersOf(step);

const options = {
  overflow: (env) => env.OVERFLOW,
  flush: { timeoutMs: 2500 },
};

const traced = withLangfuse(
  {
    ...handlers,
    async fetch(request, env, ctx, observation) {
      switch (new URL(request.url).pathname) {
        case "/flush":
          handlers.routes["/answer"]();
          return Response.json(await flushLangfuse());
        case "/other":
          return env.OTHER.fetch("http://other/answer", { headers: { traceparent: observation.traceparent } });
        default:
          return handlers.fetch(request, env, ctx);
      }
    },
  },
  options,
);

/** What became of promises that the Worker gave to `waitUntil`. */
const budget = { open: 0, met: 0, cut: 0 };

export default {
  ...traced,
  fetch(request, env, ctx) {
    if (new URL(request.url).pathname === "/stats") return Response.json({ ...getLangfuse().stats(), budget });
    return withBudget(traced.fetch, env.BUDGET_MS, budget)(request, env, ctx);
  },
};

export const Adder = withLangfuse(
  class Adder extends WorkerEntrypoint {
    add(one, other) {
      return step("sum", [one, other], () => one + other);
    }
  },
  options,
);

export const Room = withLangfuse(
  class Room extends DurableObject {
    /** A WebSocket that lets the object hibernate. */
  fetch() {
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server);
    return new Response(null, { status: 101, webSocket: client });
    }
    webSocketMessage(socket, message) {
      socket.send(step("echo", message, () => `echo ${message}`));
    }
    webSocketClose(socket, code) {
      socket.close(code);
    }
    async wake() {
      await this.ctx.storage.setAlarm(Date.now() + 10);
      return step("sleep", null, () => "good night");
    }
    alarm() {
      step("work", null, () => "done");
    }
  },
  options,
);
