// What happens to Workers and other serverless functions. Each scenario gives what it has recorded, by name, and all of that has to arrive.
import assert from "node:assert/strict";

import { supportedCompatibilityDate as NEWEST } from "miniflare";

import { until } from "../js/support/until.mjs";
import { startLambdaHost, startVercelHost } from "./serverless.mjs";

const PARTS = { plan: 1, search: 1, rank: 1, answer: 1, check: 1 };
/** Each of these, so often. */
const times = (n, records) => Object.fromEntries(Object.entries(records).map(([name, count]) => [name, n * count]));
const sum = (...all) => {
  const total = {};
  for (const records of all) for (const [name, count] of Object.entries(records)) total[name] = (total[name] ?? 0) + count;
  return total;
};
/** Invocations, of which each is an observation with five others below. */
const answers = (name, n = 1) => times(n, { [name]: 1, ...PARTS });
/** Of the Worker that flushes by hand. */
const byHand = (name, count = 1) => ({ [name]: count, [`${name} child`]: count });

/** Langfuse takes so long to answer that a response which waited for it would be noticed. */
const SLOW = { delayMs: 300 };

const ANSWER = "Because of Rayleigh scattering. ".repeat(30);

/** Of a Worker that is traced: what it was told to do worked, and nothing it gave to `waitUntil` was cut off. */
async function nothingWasCut({ stats }) {
  assert.equal((await stats()).budget.cut, 0, "nothing outlives the time that waitUntil has");
}

/** Sends messages through a WebSocket to the Durable Object, and waits for its answers. */
async function talk({ miniflare }, path, kind) {
  const { webSocket } = await miniflare.dispatchFetch(`http://gateway/${path}`, { headers: { upgrade: "websocket" } });
  const heard = [];
  webSocket.addEventListener("message", ({ data }) => heard.push(data));
  webSocket.accept();
  for (const word of ["one", "two", "three"]) webSocket.send(word);
  await until(() => heard.length === 3);
  assert.deepEqual(heard, ["one", "two", "three"].map((word) => `${kind} ${word}`));
  return webSocket;
}

const PAIRS = 600;
const WARM_UP = 50;

export const SCENARIOS = [
  {
    name: "requests one by one",
    async run({ receiver, visit }) {
      await receiver.fault(SLOW);
      for (let n = 0; n < 20; n++) assert.equal(await visit("answer"), ANSWER);
      return answers("GET /answer", 20);
    },
  },
  {
    name: "ten requests at a time",
    async run({ receiver, visit }) {
      await receiver.fault(SLOW);
      await Promise.all(Array.from({ length: 10 }, () => visit("answer")));
      return answers("GET /answer", 10);
    },
  },
  ...[
    { compatibilityFlags: ["nodejs_compat"] },
    { compatibilityFlags: [] },
    { compatibilityDate: "2024-09-01", compatibilityFlags: [] },
    { compatibilityDate: "2021-11-03", compatibilityFlags: [] },
  ].map((options) => ({
    name: ["requests that only record: no wrapper, no flush", options.compatibilityDate, ...options.compatibilityFlags].filter(Boolean).join(", "),
    options,
    async run({ receiver, visit, arrived }) {
      await receiver.fault(SLOW);
      for (let n = 0; n < 5; n++) await visit("answer", "unwrapped");
      await arrived(25);
      assert.ok((await receiver.state()).requests <= 5, "a turn's records travel together");
      return times(5, PARTS);
    },
  })),
  {
    name: "what is recorded after the response, with and without withLangfuse",
    async run({ visit }) {
      assert.equal(await visit("later", "unwrapped"), "later");
      assert.equal(await visit("later"), "later");
      return sum(PARTS, answers("GET /later"));
    },
  },
  {
    name: "a request that is cancelled while it sends",
    async run({ receiver, cancelled }) {
      await receiver.fault({ hang: true, first: 1 });
      await cancelled("traced/flush");
      return answers("GET /flush");
    },
  },
  {
    name: "a request that is cancelled while it sends, without withLangfuse",
    async run({ receiver, cancelled }) {
      await receiver.fault({ hang: true, first: 1 });
      await cancelled("unwrapped/slow");
      return PARTS;
    },
  },
  {
    name: "the same with a flush that the request awaits: the next request sends it",
    async run({ receiver, cancelled, byHand: call }) {
      await receiver.fault({ hang: true, first: 1 });
      await cancelled("byHand/?name=a&flush=await");
      await call({ name: "b", flush: "waitUntil" });
      return sum(byHand("a"), byHand("b"));
    },
  },
  {
    name: "a request that flushes nothing: the next one sends it",
    async run({ receiver, byHand: call }) {
      await call({ name: "a", count: 3 });
      assert.equal((await receiver.state()).requests, 0);
      await call({ name: "b", flush: "waitUntil" });
      return sum(byHand("a", 3), byHand("b"));
    },
  },
  {
    name: "a request that flushes without waitUntil",
    // What was on its way when the request ended may have arrived.
    duplicates: 6,
    async run({ receiver, byHand: call }) {
      await receiver.fault(SLOW);
      await call({ name: "a", count: 3, flush: "forget" });
      await call({ name: "b", flush: "waitUntil" });
      return sum(byHand("a", 3), byHand("b"));
    },
  },
  {
    name: "a request that is sent while another's hangs",
    async run({ receiver, visit, arrived }) {
      await receiver.fault({ hang: true, first: 1 });
      await visit("answer");
      await until(async () => (await receiver.state()).requests === 1);
      await visit("answer");
      await arrived(6, 900);
      return answers("GET /answer", 2);
    },
  },
  {
    name: "a request that is terminated in the middle",
    async run({ get, visit }) {
      await assert.rejects(get("traced/exit"), /answered 5/);
      await visit("answer");
      // Its own observation never ends: nothing of it runs any more.
      return sum(PARTS, answers("GET /answer"));
    },
  },
  {
    name: "a request that is terminated in the middle, without withLangfuse",
    async run({ get, visit }) {
      await assert.rejects(get("unwrapped/exit"), /answered 5/);
      await visit("answer", "unwrapped");
      return times(2, PARTS);
    },
  },
  {
    name: "a request that is terminated while it sends",
    duplicates: 2,
    async run({ get, receiver, byHand: call }) {
      await receiver.fault({ delayMs: 50 });
      await assert.rejects(get("byHand/?name=a&terminated=after%20the%20flush%20began"), /answered 5/);
      await call({ name: "b", flush: "waitUntil" });
      return sum(byHand("a"), byHand("b"));
    },
  },
  {
    name: "a stream that is read to its end",
    async run({ receiver, visit }) {
      await receiver.fault(SLOW);
      assert.equal((await visit("stream")).split("\n").length, 21);
      return answers("GET /stream");
    },
  },
  {
    name: "a stream whose client leaves at once",
    async run({ get }) {
      assert.equal(await get("traced/endless?leaveAfter=3"), "left");
      return answers("GET /endless");
    },
  },
  {
    name: "a stream whose client leaves when waitUntil's time, from the response on, were over (1 s)",
    options: { bindings: { BUDGET_MS: 1000 } },
    async run({ url, receiver, arrived }) {
      await receiver.fault(SLOW);
      const client = new AbortController();
      const reader = (await fetch(new URL("traced/endless", url), { signal: client.signal })).body.getReader();
      await reader.read();
      await arrived(5);
      for (const begun = performance.now(); performance.now() - begun < 1200; ) await reader.read();
      client.abort();
      return answers("GET /endless");
    },
  },
  {
    name: "a stream whose client does not read on for a while, and leaves",
    async run({ url, arrived }) {
      const client = new AbortController();
      const reader = (await fetch(new URL("traced/flood", url), { signal: client.signal })).body.getReader();
      await reader.read();
      await arrived(5);
      client.abort();
      return answers("GET /flood");
    },
  },
  {
    name: "a stream whose caller reads on after a pause, and leaves",
    async run({ get }) {
      assert.equal(await get("traced/flood?leaveAfter=20&pauseMs=1000"), "left");
      return answers("GET /flood");
    },
  },
  {
    name: "a WebSocket's messages long after the response, with and without withLangfuse",
    async run(host) {
      await talk(host, "unwrapped/socket", "plain");
      await host.arrived(3);
      await talk(host, "traced/socket", "plain");
      return { "GET /socket": 1, message: 6 };
    },
  },
  {
    name: "a client that is made, and records, at global scope",
    options: { byHand: { recordsAtStartup: true } },
    async run({ byHand: call }) {
      await call({ flush: "waitUntil" });
      return sum(byHand("startup", 3), byHand("one"));
    },
  },
  {
    name: "a Durable Object: RPC and an alarm",
    async run({ receiver, get }) {
      await receiver.fault(SLOW);
      assert.equal(await get("traced/alarm"), '"good night"');
      return { "GET /alarm": 1, "rpc wake": 1, sleep: 1, alarm: 1, work: 1 };
    },
  },
  {
    name: "a Durable Object: WebSocket messages, hibernating",
    async run(host) {
      await host.receiver.fault(SLOW);
      (await talk(host, "traced/room", "echo")).close(1000);
      return { "GET /room": 2, webSocketMessage: 3, echo: 3, webSocketClose: 1 };
    },
  },
  {
    name: "a Durable Object without withLangfuse: plain WebSocket messages",
    async run(host) {
      await host.receiver.fault(SLOW);
      await talk(host, "unwrapped/room", "plain");
      return { message: 3 };
    },
  },
  {
    name: "a Durable Object without withLangfuse: RPC and an alarm",
    async run({ get }) {
      assert.equal(await get("unwrapped/alarm"), '"good night"');
      return { sleep: 1, work: 1 };
    },
  },
  {
    name: "a cron trigger without withLangfuse",
    async run({ miniflare }) {
      assert.equal((await (await miniflare.getWorker("unwrapped")).scheduled({})).outcome, "ok");
      return PARTS;
    },
  },
  {
    name: "a service binding's entrypoint, called by RPC",
    async run({ get }) {
      assert.equal(await get("traced/rpc"), "3");
      return { "GET /rpc": 1, call: 1, "rpc add": 1, sum: 1 };
    },
  },
  {
    name: "a queue's batch, of which one message comes again",
    async run({ get }) {
      await get("traced/mails");
      return { "GET /mails": 1, "queue mails": 2, message: 4, mail: 4 };
    },
  },
  {
    name: "a cron trigger",
    async run({ miniflare }) {
      const { outcome } = await (await miniflare.getWorker("traced")).scheduled({ cron: "*/5 * * * *" });
      assert.equal(outcome, "ok");
      return answers("scheduled */5 * * * *");
    },
  },
  {
    name: "an email",
    // Only the Worker that gets the mail can be asked.
    after: undefined,
    options: { first: "traced" },
    async run({ url }) {
      const mail = "From: <a@example.com>\r\nTo: <b@example.com>\r\nMessage-ID: <1@example.com>\r\nSubject: Hi\r\n\r\nHi!\r\n";
      const target = new URL("/cdn-cgi/handler/email?from=a@example.com&to=b@example.com", url);
      const response = await fetch(target, { method: "POST", body: mail });
      assert.ok(response.ok, await response.text());
      return { email: 1, read: 1 };
    },
  },
  {
    name: "two scripts in one process, the trace going through both",
    async run({ receiver, visit, arrived }) {
      await receiver.fault(SLOW);
      await visit("other");
      await arrived(7);
      assert.equal(new Set((await receiver.rows()).map(({ traceId }) => traceId)).size, 1);
      return sum({ "GET /other": 1 }, answers("GET /answer"));
    },
  },
  ...[
    { compatibilityDate: "2024-09-01", compatibilityFlags: [] },
    { compatibilityDate: "2024-09-01", compatibilityFlags: ["nodejs_compat"] },
    { compatibilityDate: NEWEST, compatibilityFlags: [] },
  ].map((options) => ({
    name: ["compatibility date", options.compatibilityDate, ...options.compatibilityFlags].join(" "),
    options,
    async run({ receiver, visit }) {
      await receiver.fault(SLOW);
      await visit("answer");
      await visit("answer");
      return answers("GET /answer", 2);
    },
  })),
  {
    name: "a Worker in Rust, ten requests at a time, the first of which fails to send",
    async run({ receiver, get }) {
      await receiver.fault({ status: 503, first: 1 });
      const questions = Array.from({ length: 10 }, (_, n) => `rust/${n}`);
      for (const answer of await Promise.all(questions.map(get))) assert.equal(answer, "An answer to: ");
      return sum(...questions.map((_, n) => ({ [`GET /${n}`]: 1, answer: 1 })));
    },
  },
  {
    name: "Langfuse hangs for longer than waitUntil lasts (3 s for 30): the next request sends it",
    options: { hasOverflow: false },
    async run({ receiver, visit, stats }) {
      await receiver.fault({ hang: true });
      await visit("answer");
      await until(async () => (await stats()).budget.met === 1, 4000);
      assert.equal((await receiver.state()).rows, 0);
      await receiver.fault({});
      await visit("answer");
      return answers("GET /answer", 2);
    },
  },
  {
    name: "Langfuse is down for longer than that: the overflow queue delivers",
    async run({ receiver, visit, stats }) {
      await receiver.fault({ status: 503 });
      await Promise.all([visit("answer"), visit("answer")]);
      await until(async () => (await stats()).handedOver === 12);
      assert.equal((await receiver.state()).rows, 0);
      await receiver.fault({});
      return answers("GET /answer", 2);
    },
  },
  {
    name: "AWS Lambda, frozen at its answer",
    start: startLambdaHost,
    waits: "its flush: Lambda freezes it then",
    async run({ receiver, visit }) {
      for (let n = 1; n <= 10; n++) {
        assert.deepEqual(await visit({ n }), { statusCode: 200, body: "done" });
        assert.equal((await receiver.state()).rows, 2 * n, "it has arrived when the function is frozen");
      }
      return { orders: 10, work: 10 };
    },
  },
  {
    name: "Vercel's edge-runtime, with its request context",
    start: startVercelHost,
    async run({ receiver, visit, settled }) {
      await receiver.fault(SLOW);
      for (let n = 0; n < 10; n++) assert.equal(await visit("answer"), ANSWER);
      await settled();
      assert.equal((await receiver.state()).rows, 60, "it has arrived when the function may be frozen");
      return answers("GET /answer", 10);
    },
  },
  {
    name: `a request of 5 observations and its own, ${PAIRS} times with withLangfuse, ${PAIRS} times without`,
    // Nothing else runs beside: it is about fractions of a millisecond.
    isAlone: true,
    noticedMs: 1,
    // Without the test's own work around each request.
    options: { bindings: { BUDGET_MS: 0 } },
    async run({ visit, delays }) {
      for (let n = 0; n < WARM_UP; n++) await visit("answer");
      delays.length = 0;
      for (let n = 0; n < PAIRS; n++) await visit("answer");
      return answers("GET /answer", WARM_UP + PAIRS);
    },
  },
].map((scenario) => ({ after: scenario.start ? undefined : nothingWasCut, ...scenario }));
