// What observed functions give, where it is of a client that users have: OpenAI's promises and streams.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { observe } from "langfuse-edge";
import OpenAI, { APIPromise } from "openai";
import { Stream } from "openai/core/streaming";

import { httpServerFor } from "./support/http-server.mjs";
import { failedWith } from "./support/observed.mjs";
import { all, observedResults } from "./support/results.mjs";
import { until } from "./support/until.mjs";

const { client, end, rows } = observedResults();

describe("OpenAI's client", () => {
  const chunk = (content) => `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", choices: [{ index: 0, delta: { role: "assistant", content } }] })}\n\n`;
  const completion = { id: "c", object: "chat.completion", choices: [{ index: 0, message: { role: "assistant", content: "whole" } }] };

  const last = `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })}\n\n`;

  /** A client against a server that streams `contents`, in the way that `finish` ends. */
  async function openAI(t, contents = ["a", "b", "c"], finish = (response) => response.end(`${last}data: [DONE]\n\n`)) {
    const server = await httpServerFor(t, (request, response) => {
      if (request.url.includes("fails")) return response.writeHead(418).end('{"error":{"message":"teapot"}}');
      if (request.url.includes("whole")) return response.writeHead(200, { "content-type": "application/json", "x-request-id": "r1" }).end(JSON.stringify(completion));
      response.writeHead(200, { "content-type": "text/event-stream", "x-request-id": "r1" });
      for (const content of contents) response.write(chunk(content));
      finish(response);
    });
    const at = (path) => new OpenAI({ apiKey: "k", baseURL: `${server.url}/${path}`, maxRetries: 0 });
    const create = (path, stream) => at(path).chat.completions.create({ model: "m", messages: [], stream });
    return {
      server,
      stream: observe(() => create("stream", true), { name: "one" }),
      whole: observe(() => create("whole", false), { name: "one" }),
      fails: observe(() => create("fails", false), { name: "one" }),
      helper: observe(() => at("stream").chat.completions.stream({ model: "m", messages: [] }), { name: "one" }),
    };
  }
  const contents = (chunks) => chunks.map(({ choices }) => choices[0].delta.content ?? "").join("");
  const outputOf = async () => {
    const { level, output } = (await rows()).one ?? {};
    return output && [level, contents(JSON.parse(output))];
  };

  test("its promise keeps its class and its helpers; one request is made", async (t) => {
    const { whole, server } = await openAI(t);
    const given = whole();
    assert.ok(given instanceof APIPromise);
    const { data, response, request_id } = await given.withResponse();
    assert.deepEqual([data.choices[0].message.content, response.status, request_id], ["whole", 200, "r1"]);
    assert.equal((await given).choices[0].message.content, "whole");
    assert.equal(server.counts.requests, 1);
    const { one } = await rows();
    assert.equal(JSON.parse(one.output).choices[0].message.content, "whole");
  });

  test("asResponse gives the response, unread", async (t) => {
    const { whole } = await openAI(t);
    const given = whole();
    const response = await given.asResponse();
    assert.ok(response instanceof Response);
    assert.equal(response.headers.get("x-request-id"), "r1");
    assert.equal(await end(), undefined);
    assert.deepEqual(await response.json(), completion);
    const [level, , output] = await end();
    assert.deepEqual([level, JSON.parse(JSON.parse(output).body)], ["DEFAULT", completion]);
  });

  test("asResponse for a look at the headers, and then the value", async (t) => {
    const { whole } = await openAI(t);
    const given = whole();
    assert.equal((await given.asResponse()).status, 200);
    assert.equal((await given).choices[0].message.content, "whole");
    assert.equal((await end())[0], "DEFAULT");
  });

  test("an error is the SDK's own", async (t) => {
    const { fails } = await openAI(t);
    await assert.rejects(fails(), (error) => error instanceof OpenAI.APIError && error.status === 418);
    assert.deepEqual((await end()).slice(0, 2), failedWith("418 teapot"));
    await client();
    await assert.rejects(fails().withResponse(), OpenAI.APIError);
    const rejected = await fails().catch((error) => error.status);
    assert.equal(rejected, 418);
  });

  test("its stream is the SDK's, and is consumed to its end", async (t) => {
    const { stream } = await openAI(t);
    const given = await stream();
    assert.ok(given instanceof Stream);
    assert.ok(given.controller instanceof AbortController);
    assert.equal(await outputOf(), undefined);
    assert.equal(contents(await all(given)), "abc");
    assert.deepEqual(await outputOf(), ["DEFAULT", "abc"]);
    await assert.rejects(all(given), /consumed/);
  });

  test("its stream beside its response", async (t) => {
    const { stream } = await openAI(t);
    const { data, response } = await stream().withResponse();
    assert.equal(response.headers.get("x-request-id"), "r1");
    assert.equal(contents(await all(data)), "abc");
    assert.deepEqual(await outputOf(), ["DEFAULT", "abc"]);
  });

  test("its stream left early, and the connection with it", async (t) => {
    const { stream, server } = await openAI(t, ["a", "b"], () => {});
    for await (const _ of await stream()) break;
    assert.deepEqual(await outputOf(), ["WARNING", "a"]);
    await until(async () => (await server.open()) <= 1);
  });

  test("its stream aborted through its controller, between chunks and while one is awaited", async (t) => {
    const { stream } = await openAI(t, ["a", "b"], () => {});
    const between = await stream();
    await between[Symbol.asyncIterator]().next();
    between.controller.abort();
    assert.deepEqual(await outputOf(), ["WARNING", "a"]);
    await client();
    const awaited = await stream();
    let got = "";
    for await (const part of awaited) {
      got += contents([part]);
      if (got === "ab") setImmediate(() => awaited.controller.abort());
    }
    assert.equal(got, "ab");
    assert.deepEqual(await outputOf(), ["WARNING", "ab"]);
  });

  test("its stream as a ReadableStream", async (t) => {
    const { stream } = await openAI(t);
    const lines = (await new Response((await stream()).toReadableStream()).text()).trim().split("\n");
    assert.equal(contents(lines.map((line) => JSON.parse(line))), "abc");
    assert.deepEqual(await outputOf(), ["DEFAULT", "abc"]);
  });

  test("its stream in two", async (t) => {
    const { stream } = await openAI(t);
    const [left, right] = (await stream()).tee();
    assert.deepEqual((await Promise.all([all(left), all(right)])).map(contents), ["abc", "abc"]);
    assert.deepEqual(await outputOf(), ["DEFAULT", "abc"]);
  });

  test("its stream cut off by the server", async (t) => {
    const { stream } = await openAI(t, ["a"], (response) => setTimeout(() => response.destroy(), 20));
    await assert.rejects(async () => all(await stream()));
    assert.deepEqual(await outputOf(), ["ERROR", "a"]);
  });

  test("the helper that hands on events, without anybody iterating", async (t) => {
    const { helper } = await openAI(t);
    const given = helper();
    const seen = [];
    given.on("content", (delta) => seen.push(delta));
    assert.equal((await given.finalChatCompletion()).choices[0].message.content, "abc");
    assert.equal(seen.join(""), "abc");
    assert.deepEqual(await outputOf(), ["DEFAULT", "abc"]);
  });
});
