// Whether the keys are right, and where a trace is shown: both are asked of the server.
import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";

import { Langfuse } from "langfuse-edge";

import { httpServerFor, nobodyListens } from "./support/http-server.mjs";
import { KEYS, receiverFor } from "./support/receiver.mjs";

const TRACE = "0af7651916cd43dd8448eb211c80319c";

let warnings;
beforeEach((t) => {
  warnings = [];
  t.mock.method(console, "warn", (message) => warnings.push(message));
});

/** A server that answers each request with a status and a text, and keeps what it was asked. */
async function answering(t, status, text, headers = {}) {
  const asked = [];
  const server = await httpServerFor(t, (request, response) => {
    asked.push(request);
    response.writeHead(status, headers).end(text);
  });
  return { ...server, asked };
}

describe("authCheck", () => {
  test("is true with the right keys, each time it is asked", async (t) => {
    const receiver = await receiverFor(t);
    const langfuse = new Langfuse({ ...receiver.options, baseUrl: `${receiver.url}/` });
    assert.deepEqual([await langfuse.authCheck(), await langfuse.authCheck()], [true, true]);
    await receiver.stop();
    assert.equal(await langfuse.authCheck(), false);
    assert.equal(warnings.length, 1);
  });

  test("is false with wrong keys, and says so without showing them", async (t) => {
    const receiver = await receiverFor(t);
    const langfuse = new Langfuse({ ...receiver.options, secretKey: "sk-lf-wrong" });
    assert.equal(await langfuse.authCheck(), false);
    assert.deepEqual(warnings, [
      `langfuse-edge: the project of the keys is unknown: ${receiver.url} answers 401: were the keys made there, in this region?`,
    ]);
  });

  test("is false when nobody listens, and says what the host says", async () => {
    const baseUrl = await nobodyListens();
    assert.equal(await new Langfuse({ ...KEYS, baseUrl }).authCheck(), false);
    assert.equal(warnings.length, 1);
    assert.match(warnings[0], new RegExp(`^langfuse-edge: ${baseUrl} cannot be reached: .*(ECONNREFUSED|Connection refused|Unable to connect)`));
  });

  test("is false after the client's timeout", async (t) => {
    const server = await httpServerFor(t, () => {});
    const start = performance.now();
    assert.equal(await new Langfuse({ ...KEYS, baseUrl: server.url, timeout: 0.2 }).authCheck(), false);
    assert.ok(performance.now() - start < 2000);
    assert.match(warnings.join(), /cannot be reached: .*time(d )?out/);
  });

  test("is false when the answer is not the server's: a redirect, a page, a project of none", async (t) => {
    for (const [status, text, headers] of [
      [302, "", { location: "https://example.com/login" }],
      [200, "<!doctype html>"],
      [200, '{"data":[]}'],
      [200, "null"],
      [503, ""],
    ]) {
      warnings = [];
      const { url } = await answering(t, status, text, headers);
      assert.equal(await new Langfuse({ ...KEYS, baseUrl: url }).authCheck(), false);
      assert.deepEqual(warnings, [`langfuse-edge: the project of the keys is unknown: ${url} answers ${status}`]);
    }
  });

  test("is false where tracing is disabled, and after free()", async (t) => {
    const receiver = await receiverFor(t);
    const langfuse = new Langfuse(receiver.options);
    langfuse.free();
    assert.equal(await langfuse.authCheck(), false);
    assert.equal(await new Langfuse({ enabled: false }).authCheck(), false);
    assert.deepEqual(warnings, Array(2).fill("langfuse-edge: tracing is disabled"));
  });

  test("sends the keys without the white space around them, and further headers", async (t) => {
    const server = await answering(t, 200, '{"data":[{"id":"p"}]}');
    const options = { publicKey: " pk \n", secretKey: "\tsk ", baseUrl: server.url, additionalHeaders: { "X-Proxy": "in" } };
    assert.equal(await new Langfuse(options).authCheck(), true);
    const [{ method, url, headers }] = server.asked;
    assert.deepEqual(
      [method, url, headers.authorization, headers["x-proxy"]],
      ["GET", "/api/public/projects", `Basic ${btoa("pk:sk")}`, "in"],
    );
  });
});

describe("getTraceUrl", () => {
  test("asks for the project once", async (t) => {
    const server = await answering(t, 200, '{"data":[{"id":"project-1"}]}');
    const langfuse = new Langfuse({ ...KEYS, baseUrl: `${server.url}/base/` });
    for (let n = 0; n < 3; n++) {
      assert.equal(await langfuse.getTraceUrl(TRACE), `${server.url}/base/project/project-1/traces/${TRACE}`);
    }
    assert.deepEqual(server.asked.map(({ url }) => url), ["/base/api/public/projects"]);
  });

  test("is undefined with a warning when the server does not tell, and asks again", async (t) => {
    const receiver = await receiverFor(t);
    const langfuse = new Langfuse({ ...receiver.options, baseUrl: await nobodyListens() });
    assert.equal(await langfuse.getTraceUrl(TRACE), undefined);
    assert.equal(await langfuse.getTraceUrl(TRACE), undefined);
    assert.equal(warnings.length, 2);
  });
});
