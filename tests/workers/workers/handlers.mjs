// What the Workers of these scenarios do, traced or not: `step` runs a part of it, as an observation or just so.
const encoder = new TextEncoder();
const QUESTION = "Why is the sky blue? ".repeat(50);
const ANSWER = "Because of Rayleigh scattering. ".repeat(30);

/** Of this type nothing on the way to the client waits for more. */
const EVENTS = { headers: { "content-type": "text/event-stream" } };

/** Parts that come one by one. */
const stream = (parts, ms, content = "") =>
  new ReadableStream({
    async pull(controller) {
      if (parts-- === 0) return controller.close();
      if (ms) await scheduler.wait(ms);
      controller.enqueue(encoder.encode(`part ${parts}${content}\n`));
    },
  });

export function handlersOf(step) {
  /** Five parts, as a chat has them. */
  const answer = () => {
    step("plan", QUESTION, () => "search");
    step("search", QUESTION, () => ["one", "two"]);
    step("rank", ["one", "two"], () => ["two", "one"]);
    step("answer", QUESTION, () => ANSWER);
    step("check", ANSWER, () => true);
    return ANSWER;
  };

  const routes = {
    "/answer": () => new Response(answer()),
    "/slow": async () => {
      answer();
      await scheduler.wait(200);
      return new Response("slow");
    },
    "/stream": () => {
      answer();
      return new Response(stream(20, 20), EVENTS);
    },
    "/endless": () => {
      answer();
      return new Response(stream(Infinity, 20), EVENTS);
    },
    /** More than any buffer holds, as fast as it is read. */
    "/flood": () => {
      answer();
      return new Response(stream(Infinity, 0, "!".repeat(1_000_000)), EVENTS);
    },
    "/later": (request, env, ctx) => {
      ctx.waitUntil(scheduler.wait(300).then(answer));
      return new Response("later");
    },
    "/exit": () => {
      answer();
      process.exit();
    },
    "/other": (request, env) => env.OTHER.fetch("http://other/answer"),
    "/rpc": async (request, env) => Response.json(await step("call", null, () => env.ADDER.add(1, 2))),
    "/mails": async (request, env) => {
      await env.MAILS.sendBatch(["good", "bad", "ugly"].map((body) => ({ body })));
      return new Response("sent");
    },
    "/socket": () => {
      const { 0: client, 1: server } = new WebSocketPair();
      server.accept();
      server.addEventListener("message", ({ data }) => server.send(step("message", data, () => `plain ${data}`)));
      return new Response(null, { status: 101, webSocket: client });
    },
    "/room": (request, env) => env.ROOM.get(env.ROOM.idFromName("one")).fetch(request),
    "/alarm": async (request, env) => Response.json(await env.ROOM.get(env.ROOM.idFromName("one")).wake()),
  };

  return {
    routes,
    fetch: (request, ...more) => routes[new URL(request.url).pathname](request, ...more),
    scheduled: () => void answer(),
    async email(message) {
      await step("read", message.from, async () => (await new Response(message.raw).text()).length);
    },
    async queue({ messages }) {
      for (const { body } of messages) await step("mail", body, () => scheduler.wait(1));
      for (const message of messages) {
        if (message.body === "bad" && message.attempts === 1) message.retry();
        else message.ack();
      }
    },
  };
}
