// What carries requests in Node.js: `node:http`, unless somebody has a say in what `fetch` does.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:https";
import { afterEach, test } from "node:test";

import { Langfuse } from "langfuse-edge";
import { Agent, MockAgent, getGlobalDispatcher, setGlobalDispatcher } from "undici";

import { certificates } from "./support/certificate.mjs";
import { addressFor, httpServerFor } from "./support/http-server.mjs";
import { startScript } from "./support/program.mjs";
import { KEYS } from "./support/receiver.mjs";

const { fetch } = globalThis;
const dispatcher = getGlobalDispatcher();
afterEach(() => {
  globalThis.fetch = fetch;
  setGlobalDispatcher(dispatcher);
});

/** A client with one record. */
function recorded(baseUrl, options) {
  const langfuse = new Langfuse({ ...KEYS, baseUrl, flushAt: 1_000_000, flushInterval: 0, ...options });
  langfuse.startObservation("one").end();
  return langfuse;
}

test("requests go through node:http, over one connection, with a length and a name", async (t) => {
  const seen = [];
  const { url, counts } = await httpServerFor(t, ({ headers }, response) => {
    seen.push(headers);
    response.end();
  });
  const langfuse = recorded(url);
  for (let flush = 0; flush < 3; flush++) {
    langfuse.startObservation("more").end();
    assert.equal((await langfuse.flush()).ok, true);
  }
  assert.deepEqual([counts.requests, counts.connections], [3, 1]);
  for (const headers of seen) {
    assert.deepEqual([headers["user-agent"], headers["transfer-encoding"]], ["langfuse-edge", undefined]);
    assert.ok(headers["content-length"] > 100);
  }
});

test("a program may give another user agent", async (t) => {
  let agent;
  const { url } = await httpServerFor(t, ({ headers }, response) => {
    agent = headers["user-agent"];
    response.end();
  });
  assert.equal((await recorded(url, { additionalHeaders: { "User-Agent": "app/1.0" } }).flush()).ok, true);
  assert.equal(agent, "app/1.0");
});

test("a fetch that somebody has replaced is called instead", async (t) => {
  const { url, counts } = await httpServerFor(t, (_, response) => response.end());
  const urls = [];
  globalThis.fetch = (input, init) => {
    urls.push(input);
    return fetch(input, init);
  };
  assert.equal((await recorded(url).flush()).delivered, 1);
  assert.deepEqual([urls, counts.requests], [[`${url}/api/public/otel/v1/traces`], 1]);
});

test("what a program has set for fetch to send by is used: here one that answers by itself", async (t) => {
  const { url, counts } = await httpServerFor(t, (_, response) => response.end());
  const mock = new MockAgent();
  mock.disableNetConnect();
  mock.get(url).intercept({ path: "/api/public/otel/v1/traces", method: "POST" }).reply(200, "{}");
  setGlobalDispatcher(mock);
  assert.equal((await recorded(url).flush()).delivered, 1);
  assert.equal(counts.requests, 0);
});

test("a server whose certificate authority only fetch knows is reached by fetch, from then on at once", async (t) => {
  const { ca, cert, key } = certificates();
  const agents = [];
  let refused = 0;
  const server = createServer({ cert, key }, (request, response) => {
    agents.push(request.headers["user-agent"]);
    request.resume().on("end", () => response.end());
  });
  server.on("tlsClientError", () => refused++);
  const url = `https://${await addressFor(t, server)}`;

  setGlobalDispatcher(new Agent({ connect: { ca } }));
  const langfuse = recorded(url);
  for (let flush = 0; flush < 2; flush++) {
    langfuse.startObservation("more").end();
    assert.equal((await langfuse.flush()).attempts, 1);
    assert.equal(refused, 1);
  }
  assert.equal(agents.length, 2);
  assert.equal(agents.includes("langfuse-edge"), false);
});

test("a server that neither node:http nor fetch trusts gets nothing", async (t) => {
  const { cert, key } = certificates();
  let requests = 0;
  const server = createServer({ cert, key }, () => requests++);
  const report = await recorded(`https://${await addressFor(t, server)}`).flush({ timeoutMs: 300 });
  assert.deepEqual([report.ok, report.retained, report.lastStatus, requests], [false, 1, 0, 0]);
});

test("what gets no whole answer is tried again", async (t) => {
  const { url, counts } = await httpServerFor(t, (_, response) => {
    if (counts.requests > 2) return response.end();
    if (counts.requests === 1) return response.destroy();
    response.writeHead(503, { "content-length": 100 });
    response.write("{");
    setImmediate(() => response.destroy());
  });
  const { ok, delivered, attempts } = await recorded(url).flush();
  assert.deepEqual([ok, delivered, attempts], [true, 1, 3]);
});

test("an answer that comes in parts is read whole", async (t) => {
  const words = Buffer.from('{"message":"zu groß"}');
  const { url } = await httpServerFor(t, (_, response) => {
    response.writeHead(400).write(words.subarray(0, -3));
    setImmediate(() => response.end(words.subarray(-3)));
  });
  const { rejected } = await recorded(url).flush();
  assert.deepEqual(rejected.map(({ message }) => message), [words.toString()]);
});

for (const [what, begin] of [
  ["of which nothing", () => {}],
  ["of which only the head", (response) => response.writeHead(200, { "content-length": 2 }).flushHeaders()],
  ["of which only a part", (response) => response.writeHead(200, { "content-length": 2 }).write("{")],
]) {
  test(`an answer ${what} comes in time is not waited for: its connection is closed`, async (t) => {
    const closed = [];
    const { url } = await httpServerFor(t, (request, response) => {
      closed.push(once(request.socket, "close", { signal: AbortSignal.timeout(3000) }));
      begin(response);
    });
    const { ok, ambiguous } = await recorded(url).flush({ timeoutMs: 200 });
    assert.deepEqual([ok, ambiguous, closed.length], [false, 1, 1]);
    await closed[0];
  });
}

test("a server that closed the connection meanwhile costs nothing", async (t) => {
  const { url, counts } = await httpServerFor(t, (_, response) => {
    response.shouldKeepAlive = false;
    response.end();
  });
  const langfuse = recorded(url);
  assert.equal((await langfuse.flush()).attempts, 1);
  langfuse.startObservation("two").end();
  assert.equal((await langfuse.flush()).attempts, 1);
  assert.deepEqual([counts.requests, counts.connections], [2, 2]);
});

test("a connection that is kept open keeps no process from its end", async (t) => {
  const { url, open } = await httpServerFor(t, (_, response) => response.end());
  const begun = performance.now();
  const { code, output } = await startScript(
    t,
    `import { Langfuse } from "langfuse-edge";
    const langfuse = new Langfuse(${JSON.stringify({ ...KEYS, baseUrl: url })});
    langfuse.startObservation("one").end();
    console.log((await langfuse.flush()).delivered);`,
  ).done;
  assert.deepEqual([code, output, await open()], [0, "1", 0]);
  assert.ok(performance.now() - begun < 4000);
});
