// A server of workflows: each run is a trace that can be watched step by step, and when the server is told to end, every
// run ends and everything is delivered before the process does.
//
//   node index.mjs   # reads LANGFUSE_PUBLIC_KEY, LANGFUSE_SECRET_KEY and LANGFUSE_BASE_URL; without keys it works untraced
//   curl -d '{"topic": "tea", "sections": 3}' http://127.0.0.1:8080/runs
//   curl -N http://127.0.0.1:8080/runs/$ID/events
//
// - `POST /runs` starts a run: 202, with its id; 503 once the server is ending.
// - `GET /runs/{id}/events` streams what it does (SSE), from its beginning: `step` when a step has ended and has been flushed,
//   `end` with what `GET /runs/{id}` says from then on.
// - `GET /runs/{id}` says how it is doing: `running`, `done` with its result, `failed` or `aborted` with the reason.
//
// At SIGTERM, SIGINT or Ctrl-C no run is started any more, and those under way have `GRACE_SECONDS` (10) to finish. What is left
// then is aborted: its observations end with level ERROR and say so. Everything is flushed, the last line says what became of it, and the
// exit code is 0. A second signal ends the process at once; what has not been flushed is lost. `PORT` is 8080 unless it is set.
import { once } from "node:events";
import { createServer } from "node:http";
import { constants } from "node:os";

import { flushLangfuse, getLangfuse } from "langfuse-edge";

import { isWithin, Runs } from "./runs.mjs";
import { orderOf } from "./workflow.mjs";

const LARGEST_BODY = 64 * 1024;
/** For clients to read the ends of their runs. */
const LAST_WORDS_MS = 1000;
const LAST_FLUSH_MS = 10_000;

const port = number("PORT", 8080);
const graceMs = 1000 * number("GRACE_SECONDS", 10);
const runs = new Runs();
const server = createServer((request, response) => {
  answer(request, response).catch((error) => refuse(response, error.status ?? 500, error.message));
});
const askedToEnd = shutdownSignal();
server.listen(port, "127.0.0.1");
await once(server, "listening");
console.log(`listening on http://127.0.0.1:${server.address().port}`);

await askedToEnd;
try {
  // Whoever watches a run, or asks for its result, is still answered.
  await runs.end(graceMs);
  server.close();
  await isWithin(LAST_WORDS_MS, once(server, "close"));
} finally {
  await flushLangfuse({ timeoutMs: LAST_FLUSH_MS });
  const { delivered, rejected, dropped, queued, leased } = getLangfuse().stats();
  console.log(`delivered: ${delivered}, rejected: ${rejected}, dropped: ${dropped}, retained: ${queued + leased}`);
}
process.exit();

/** The first signal that asks the process to end. The second one ends it at once. */
function shutdownSignal() {
  return new Promise((resolve) => {
    let isEnding = false;
    for (const signal of ["SIGTERM", "SIGINT"]) {
      process.on(signal, () => {
        if (isEnding) process.exit(128 + constants.signals[signal]);
        isEnding = true;
        resolve();
      });
    }
  });
}

async function answer(request, response) {
  const [, list, id, events, ...rest] = new URL(request.url, "http://server").pathname.split("/");
  if (list !== "runs" || rest.length || (events ?? "events") !== "events") return refuse(response, 404, "there is nothing");
  if (request.method !== (id === undefined ? "POST" : "GET")) return refuse(response, 405, "the method is not allowed");
  if (id === undefined) return start(request, response);
  const run = runs.find(id);
  if (!run) return refuse(response, 404, "there is no such run");
  if (events) watch(run, response);
  else sendJson(response, 200, run.summary);
}

async function start(request, response) {
  const run = runs.start(orderOf(await textOf(request)));
  if (!run) return refuse(response, 503, "the server is ending");
  response.setHeader("location", `/runs/${run.id}`);
  sendJson(response, 202, { id: run.id });
}

function watch(run, response) {
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
  const tell = ({ event, data }) => {
    response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
    if (event === "end") response.end();
  };
  run.told.forEach(tell);
  run.on("told", tell);
  response.once("close", () => run.off("told", tell));
}

async function textOf(request) {
  const parts = [];
  let length = 0;
  // A request that is refused is still answered.
  for await (const part of request.iterator({ destroyOnReturn: false })) {
    parts.push(part);
    length += part.length;
    if (length > LARGEST_BODY) throw Object.assign(new Error("the request is too large"), { status: 413 });
  }
  return Buffer.concat(parts).toString();
}

function sendJson(response, status, body) {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

function refuse(response, status, why) {
  if (response.headersSent) return response.destroy();
  sendJson(response, status, { error: why });
}

function number(variable, otherwise) {
  const value = Number(process.env[variable] ?? otherwise);
  if (!Number.isInteger(value) || value < 0 || value > 65_535) throw new Error(`${variable} must be a number from 0 to 65535`);
  return value;
}
