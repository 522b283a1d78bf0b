// Takes what the receiver, a Langfuse server of today, does not: what other clients send, and what Langfuse's client sent in
// version 3. It counts each observation once, and tells how many at the paths at which the receiver does.
import { once } from "node:events";
import { createServer } from "node:http";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";

const unzip = promisify(gunzip);
const ROUTES = { "/floor": floor, "/api/public/ingestion": ingestion, "/batch/": posthog, "/runs/multipart": multipart, "/runs/batch": runs };

let seen = new Set();
let requests = 0;

const server = createServer(async (request, response) => {
  const { pathname } = new URL(request.url, "http://sink");
  const say = (status, body) => response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  if (pathname === "/dev/state") return say(200, { observations: seen.size, requests });
  if (pathname === "/dev/reset") {
    seen = new Set();
    requests = 0;
    return say(200, {});
  }
  if (pathname === "/info") return say(200, { version: "0.10.0", batch_ingest_config: { use_multipart_endpoint: true, size_limit: 100, size_limit_bytes: 20_971_520 } });
  const parts = [];
  for await (const part of request) parts.push(part);
  let body = Buffer.concat(parts);
  if (request.headers["content-encoding"] === "gzip") body = await unzip(body);
  const route = ROUTES[pathname];
  if (!route || request.method !== "POST") return say(404, { path: pathname });
  requests++;
  say(...route(body));
});

function floor(body) {
  for (const { id } of JSON.parse(body)) seen.add(id);
  return [200, {}];
}

function ingestion(body) {
  const { batch } = JSON.parse(body);
  for (const { type, body } of batch) if (/^(span|generation)-create$/.test(type)) seen.add(body.id);
  return [207, { successes: batch.map(({ id }) => ({ id, status: 201 })), errors: [] }];
}

function posthog(body) {
  for (const { uuid } of JSON.parse(body).batch) seen.add(uuid);
  return [200, { status: 1 }];
}

/** One part for each run, and others for its values, all of them named after it. */
function multipart(body) {
  for (const [, id] of body.toString("latin1").matchAll(/name="(?:post|patch)\.([0-9a-f-]{36})"/g)) seen.add(id);
  return [202, {}];
}

function runs(body) {
  const { post = [], patch = [] } = JSON.parse(body);
  for (const { id } of [...post, ...patch]) seen.add(id);
  return [202, {}];
}

server.listen(0, "127.0.0.1");
await once(server, "listening");
console.log(`sink listening on http://127.0.0.1:${server.address().port}`);
