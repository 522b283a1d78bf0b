// The receiver over real HTTP: what it accepts and refuses, how it fails on purpose, what it shows.
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";

import { LangfuseSpanProcessor } from "@langfuse/otel";
import { propagateAttributes, setLangfuseTracerProvider, startObservation } from "@langfuse/tracing";
import { context } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { BasicTracerProvider } from "@opentelemetry/sdk-trace-base";

import { start } from "./support/program.mjs";
import { BIN, KEYS, startReceiver } from "./support/receiver.mjs";
import { until } from "./support/until.mjs";

const BASIC = `Basic ${btoa(`${KEYS.publicKey}:${KEYS.secretKey}`)}`;
const TRACES = "/api/public/otel/v1/traces";
const INGESTION = "/api/public/ingestion";

let server;
before(async () => (server = await startReceiver()));
after(() => server.stop());
beforeEach(() => server.reset());

const get = async (path, headers = { authorization: BASIC }) => fetch(server.url + path, { headers });
const json = async (path) => (await get(path)).json();
const state = () => server.state();
const rows = () => server.rows();
const requests = () => server.requests();
const tree = () => server.trees();
const fault = (body) => server.fault(body);

function post(path, body, headers = {}, options = {}) {
  const all = { authorization: BASIC, "content-type": "application/json", ...headers };
  for (const name in all) if (all[name] === undefined) delete all[name];
  const bytes = typeof body === "string" || ArrayBuffer.isView(body) ? body : JSON.stringify(body);
  return fetch(server.url + path, { method: "POST", headers: all, body: bytes, ...options });
}

const TRACE_ID = "0af7651916cd43dd8448eb211c80319c";
const spanId = (n) => n.toString(16).padStart(16, "0");
const text = (key, stringValue) => ({ key, value: { stringValue } });
const span = (n, more = {}) => ({
  traceId: TRACE_ID,
  spanId: spanId(n),
  name: `span ${n}`,
  startTimeUnixNano: `17000000000${n}0000000`,
  endTimeUnixNano: `17000000001${n}0000000`,
  attributes: [text("langfuse.observation.type", "span")],
  ...more,
});
const otlp = (...spans) => ({ resourceSpans: [{ scopeSpans: [{ scope: { name: "langfuse-sdk-test" }, spans }] }] });
const score = (id, body = {}) => ({
  id: `event-${id}`,
  type: "score-create",
  timestamp: "2026-01-01T00:00:00.000Z",
  body: { id, name: "quality", value: 0.9, traceId: TRACE_ID, ...body },
});

describe("the official SDK", () => {
  test("a root and a generation arrive complete", async () => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    const processor = new LangfuseSpanProcessor({ ...KEYS, baseUrl: server.url, environment: "staging" });
    setLangfuseTracerProvider(new BasicTracerProvider({ spanProcessors: [processor] }));
    propagateAttributes({ userId: "user-1", sessionId: "session-1", tags: ["a", "b"], traceName: "mail" }, () => {
      const root = startObservation("request", { input: { question: "?" }, metadata: { plan: "pro" } });
      const generation = root.startObservation(
        "answer",
        {
          model: "gpt-4o",
          modelParameters: { temperature: 0.5 },
          input: [{ role: "user", content: "?" }],
          usageDetails: { input: 5, output: 7 },
          costDetails: { input: 0.1, output: 0.2 },
        },
        { asType: "generation" },
      );
      generation.update({ output: "!", level: "WARNING", statusMessage: "slow" }).end();
      root.update({ output: "done" }).end();
    });
    await processor.forceFlush();

    const stored = await rows();
    const root = stored.find((row) => row.name === "request");
    const generation = stored.find((row) => row.name === "answer");
    assert.equal(stored.length, 2);
    assert.match(root.traceId, /^[0-9a-f]{32}$/);
    assert.equal(root.parentObservationId, null);
    assert.equal(generation.parentObservationId, root.id);
    assert.equal(generation.traceId, root.traceId);
    assert.equal(root.input, '{"question":"?"}');
    assert.equal(root.output, "done");
    assert.equal(root.metadata.plan, "pro");
    assert.equal(root.scope.name, "langfuse-sdk");
    for (const row of stored) {
      assert.equal(row.userId, "user-1");
      assert.equal(row.sessionId, "session-1");
      assert.equal(row.traceName, "mail");
      assert.deepEqual(row.tags, ["a", "b"]);
      assert.equal(row.environment, "staging");
      assert.equal(row.sdkName, "javascript");
    }
    assert.equal(generation.type, "GENERATION");
    assert.equal(generation.providedModelName, "gpt-4o");
    assert.deepEqual(generation.modelParameters, { temperature: 0.5 });
    assert.deepEqual(generation.usageDetails, { input: 5, output: 7, total: 12 });
    assert.equal(generation.totalCost.toFixed(2), "0.30");
    assert.equal(generation.level, "WARNING");
    assert.equal(
      await tree(),
      `trace  mail  user=user-1  session=session-1  environment=staging  tags=a,b
SPAN           request
└─ GENERATION  answer   5 → 7 tokens  WARNING  gpt-4o  slow
`,
    );
    const [request, ...others] = await requests();
    assert.deepEqual(others, []);
    assert.equal(request.status, 200);
    assert.deepEqual(request.observationIds.toSorted(), [root.id, generation.id].toSorted());
  });
});

/** Protobuf by hand: enough for one span. */
const varint = (n) => (n < 128 ? [n] : [(n & 127) | 128, ...varint(n >>> 7)]);
const bytes = (field, content) => {
  const data = typeof content === "string" ? [...Buffer.from(content)] : content.flat();
  return [...varint((field << 3) | 2), ...varint(data.length), ...data];
};
const fixed64 = (field, nanos) => {
  const data = Buffer.alloc(8);
  data.writeBigUInt64LE(nanos);
  return [(field << 3) | 1, ...data];
};
const attribute = (key, value) => bytes(9, [bytes(1, key), value && bytes(2, value)].filter(Boolean));
const protobufSpan = (...attributes) => [
  bytes(1, [...Buffer.from(TRACE_ID, "hex")]),
  bytes(2, [...Buffer.from(spanId(1), "hex")]),
  bytes(5, "proto"),
  fixed64(7, 1_700_000_000_123_456_789n),
  fixed64(8, 1_700_000_001_000_000_000n),
  ...attributes,
];
const protobuf = (span) =>
  Uint8Array.from(bytes(1, [bytes(2, [bytes(1, [bytes(1, "langfuse-sdk-test")]), bytes(2, span)])]));
const PROTOBUF = { "content-type": "application/x-protobuf" };

describe("traces", () => {
  test("protobuf, plain and gzipped", async () => {
    const body = protobuf(
      protobufSpan(
        attribute("langfuse.observation.type", bytes(1, "tool")),
        attribute("langfuse.observation.input", bytes(1, "")),
        attribute("langfuse.observation.metadata.count", [3 << 3, 42]),
      ),
    );
    assert.equal((await post(TRACES, body, PROTOBUF)).status, 200);
    const [row] = await rows();
    assert.equal(row.id, spanId(1));
    assert.equal(row.traceId, TRACE_ID);
    assert.equal(row.name, "proto");
    assert.equal(row.type, "TOOL");
    assert.equal(row.startTime, "2023-11-14T22:13:20.123Z");
    assert.equal(row.startTimeUnixNano, "1700000000123456789");
    assert.equal(row.input, "");
    assert.equal(row.metadata.count, "42");

    const zipped = gzipSync(body);
    assert.equal((await post(TRACES, zipped, { ...PROTOBUF, "content-encoding": "gzip" })).status, 200);
    assert.deepEqual((await requests()).map(({ bytes, encoding }) => ({ bytes, encoding })), [
      { bytes: body.length, encoding: null },
      { bytes: zipped.length, encoding: "gzip" },
    ]);
    const counts = await state();
    assert.deepEqual([counts.rows, counts.observations, counts.duplicates], [2, 1, 1]);
  });

  test("what the server refuses is refused in its words, and stores nothing", async () => {
    const error = async (body, headers) => {
      const response = await post(TRACES, body, headers);
      const answer = await response.json();
      return [response.status, answer.error ?? answer.message];
    };
    const denied = "Invalid credentials. Confirm that you've configured the correct host.";
    assert.deepEqual(await error(otlp(span(1)), { authorization: `Basic ${btoa("pk-lf-dev:wrong")}` }), [401, denied]);
    assert.deepEqual(await error(otlp(span(1)), { authorization: BASIC.toLowerCase() }), [401, denied]);
    assert.equal((await error(otlp(span(1)), { authorization: undefined }))[0], 401);
    assert.deepEqual(await error(otlp(span(1)), { authorization: "Bearer pk-lf-dev" }), [
      403,
      "Access denied - insufficient permissions for this endpoint",
    ]);
    assert.deepEqual(await error(otlp(span(1)), { "content-type": "text/plain" }), [400, "Invalid content type"]);
    assert.deepEqual(await error(otlp(span(1)), { "content-encoding": "gzip" }), [
      400,
      "Failed to decompress request body",
    ]);
    assert.deepEqual(await error("{"), [400, "Failed to parse OTel JSON Trace"]);
    assert.deepEqual(await error("\xff", PROTOBUF), [400, "Failed to parse OTel Protobuf Trace"]);
    for (const broken of [{ traceId: undefined }, { spanId: 5 }, { parentSpanId: 5 }, { attributes: {} }]) {
      const [status, message] = await error(otlp(span(1), span(2, broken)));
      assert.equal(status, 400);
      assert.match(message, /^Invalid OTLP trace export: .* No spans were ingested\.$/);
    }
    for (const version of ["5", "new"]) {
      const [status, message] = await error(otlp(span(1)), { "x-langfuse-ingestion-version": version });
      assert.equal(status, 400);
      assert.match(message, /^Unsupported x-langfuse-ingestion-version/);
    }
    const put = await fetch(server.url + TRACES, { method: "PUT", headers: { authorization: BASIC }, body: "{}" });
    assert.equal(put.status, 405);
    const counts = await state();
    assert.equal(counts.rows, 0);
    assert.equal(counts.requests, 14);
    const listed = await requests();
    assert.deepEqual(listed[0].observationIds, [spanId(1)], "ids of a refused request are known");
  });

  test("an empty export is fine", async () => {
    for (const body of [{}, { resourceSpans: [] }]) {
      const response = await post(TRACES, body, { "x-langfuse-ingestion-version": "4" });
      assert.deepEqual([response.status, await response.json()], [200, {}]);
    }
  });

  test("a value that is missing loses the export without a word", async () => {
    const poison = protobuf(protobufSpan(attribute("a", bytes(1, "fine")), attribute("b")));
    assert.equal((await post(TRACES, poison, PROTOBUF)).status, 200);
    const counts = await state();
    assert.deepEqual([counts.rows, counts.poisoned], [0, 1]);
  });

  test("a span sent again is a second row, and its start time is compared", async () => {
    await post(TRACES, otlp(span(1)));
    await post(TRACES, otlp(span(1)));
    await post(TRACES, otlp(span(1, { startTimeUnixNano: "1700000000000000001" })));
    const counts = await state();
    assert.deepEqual([counts.observations, counts.rows], [1, 3]);
    assert.deepEqual([counts.duplicates, counts.duplicatesWithOtherStart], [2, 1]);
    assert.match(await tree(), /\(received 3 times\)/);
  });

  test("an orphan is marked until its parent comes", async () => {
    await post(TRACES, otlp(span(2, { parentSpanId: spanId(1) })));
    assert.equal(await tree(), "trace  (unnamed)\nSPAN  span 2  (parent not received)\n");
    await post(TRACES, otlp(span(1)));
    assert.equal(await tree(), "trace  span 1\nSPAN     span 1\n└─ SPAN  span 2\n");
    const [trace] = await json("/dev/trees?format=json");
    assert.equal(trace.id, TRACE_ID);
    assert.equal(trace.observations[0].children[0].id, spanId(2));
  });
});

describe("ingestion", () => {
  test("every event gets its own answer", async () => {
    const log = { ...score("x"), id: "log", type: "sdk-log", body: { log: "hello" } };
    const batch = [
      score("good"),
      { ...score("trace"), type: "trace-create" },
      score("true", { value: true }),
      score("nowhere", { traceId: undefined }),
      score("twice", { sessionId: "s" }),
      { ...score("time"), timestamp: "yesterday" },
      { type: "score-create", timestamp: "2026-01-01T00:00:00Z", body: {} },
      score("no-id", { id: undefined }),
      log,
    ];
    const response = await post(INGESTION, { batch });
    assert.equal(response.status, 207);
    const { successes, errors } = await response.json();
    assert.deepEqual(successes, [
      { id: "event-good", status: 201 },
      { id: "event-no-id", status: 201 },
    ]);
    assert.deepEqual(
      errors.map(({ id, status }) => [id, status]),
      [
        ["event-trace", 400],
        ["event-true", 400],
        ["event-nowhere", 400],
        ["event-twice", 400],
        ["event-time", 400],
        ["unknown", 400],
      ],
    );
    assert.equal(errors[0].message, "Event type not accepted");
    const stored = await server.scores();
    assert.deepEqual(stored.map(({ id, value, dataType }) => [id, value, dataType]), [["good", 0.9, "NUMERIC"]]);
  });

  test("the same score overwrites", async () => {
    await post(INGESTION, { batch: [score("s")] });
    await post(INGESTION, { batch: [score("s", { value: 0.1 })] });
    assert.equal((await state()).scores, 1);
    const { data } = await json(`/api/public/v3/scores?traceId=${TRACE_ID}&fields=subject`);
    assert.deepEqual(data.map(({ value, subject }) => [value, subject]), [[0.1, { kind: "trace", id: TRACE_ID }]]);
  });

  test("scores show under their trace", async () => {
    await post(TRACES, otlp(span(1)));
    await post(INGESTION, { batch: [score("a"), score("b", { name: "tone", value: "kind", observationId: spanId(1) })] });
    assert.equal(await tree(), "trace  span 1\nSPAN   span 1\nSCORE  quality  0.9\nSCORE  tone     kind  on span 1\n");
  });

  test("the public key alone may score", async () => {
    const bearer = { authorization: "Bearer pk-lf-dev" };
    const batch = [score("s"), { ...score("t"), type: "trace-create" }];
    const { successes, errors } = await (await post(INGESTION, { batch }, bearer)).json();
    assert.equal(successes.length, 1);
    assert.deepEqual(errors.map(({ status }) => status), [401]);
  });

  test("bodies that are refused whole", async () => {
    const denied = await post(INGESTION, { batch: [] }, { authorization: "Basic x" });
    assert.equal(denied.status, 401);
    assert.equal((await denied.json()).error, "UnauthorizedError");
    const shapeless = await post(INGESTION, { events: [] });
    assert.equal(shapeless.status, 400);
    assert.equal((await shapeless.json()).message, "Invalid request data");
    assert.equal((await post(INGESTION, gzipSync('{"batch":[]}'), { "content-encoding": "gzip" })).status, 400);
    const large = await post(INGESTION, { batch: [], metadata: "x".repeat(4_718_592) });
    assert.equal(large.status, 413);
    const empty = await post(INGESTION, { batch: [] });
    assert.deepEqual([empty.status, await empty.json()], [207, { successes: [], errors: [] }]);
  });
});

describe("reading back", () => {
  test("observations, by filter, field group and page", async () => {
    const generation = [text("langfuse.observation.type", "generation"), text("langfuse.observation.input", "hi")];
    await post(TRACES, otlp(span(1), span(2, { parentSpanId: spanId(1), attributes: generation }), span(3)));
    const names = async (query) =>
      (await json(`/api/public/v2/observations?${query}`)).data.map(({ name }) => name);
    assert.deepEqual(await names(`traceId=${TRACE_ID}`), ["span 3", "span 2", "span 1"]);
    assert.deepEqual(await names("type=GENERATION"), ["span 2"]);
    assert.deepEqual(await names("isRootObservation=true"), ["span 3", "span 1"]);
    assert.deepEqual(await names(`parentObservationId=${spanId(1)}`), ["span 2"]);
    assert.deepEqual(await names("environment=default&environment=other&name=span%203"), ["span 3"]);
    assert.deepEqual(await names("fromStartTime=2023-11-14T22:13:20.030Z"), ["span 3"]);
    const first = await json("/api/public/v2/observations?limit=2&fields=io");
    assert.deepEqual(first.data.map(({ input, name }) => [input, name]), [
      [null, undefined],
      ["hi", undefined],
    ]);
    assert.deepEqual(await names(`limit=2&cursor=${encodeURIComponent(first.meta.cursor)}`), ["span 1"]);
    for (const query of ["parseIoAsJson=true", "limit=1001", "colour=red"]) {
      assert.equal((await get(`/api/public/v2/observations?${query}`)).status, 400, query);
    }
    assert.equal((await get("/api/public/v3/scores?limit=101")).status, 400);
    assert.equal((await get("/api/public/v2/observations", {})).status, 401);
  });

  test("projects, health, CORS and the routes that are gone", async () => {
    assert.equal((await json("/api/public/projects")).data.length, 1);
    assert.equal((await get("/api/public/projects", {})).status, 401);
    assert.match((await json("/api/public/health")).version, /^4\./);
    assert.equal((await get("/api/public/ready", {})).status, 200);
    const gone = await get("/api/public/traces/some-id", {});
    assert.equal(gone.status, 404);
    assert.match((await gone.json()).message, /events_only/);
    assert.equal((await post("/api/public/spans", {})).status, 404);

    const origin = "https://app.example";
    const preflight = await fetch(server.url + TRACES, {
      method: "OPTIONS",
      headers: { origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization" },
    });
    assert.equal(preflight.status, 200);
    assert.equal(preflight.headers.get("access-control-allow-origin"), origin);
    assert.equal(preflight.headers.get("access-control-allow-headers"), "authorization");
    const answer = await post(TRACES, {}, { origin });
    assert.equal(answer.headers.get("access-control-allow-origin"), origin);
  });
});

describe("faults", () => {
  const statuses = async () => (await requests()).map(({ status }) => status);

  test("a status for the first N, with Retry-After", async () => {
    await fault({ status: 429, first: 2, retryAfter: "2" });
    for (const [status, retryAfter] of [[429, "2"], [429, "2"], [200, null]]) {
      const response = await post(TRACES, otlp(span(1)));
      assert.deepEqual([response.status, response.headers.get("retry-after")], [status, retryAfter]);
    }
    assert.deepEqual(await statuses(), [429, 429, 200]);
    assert.equal((await state()).rows, 1);
    assert.deepEqual((await requests())[0].observationIds, [spanId(1)]);
  });

  test("a status for a while", async () => {
    await fault({ status: 503, forMs: 150 });
    assert.equal((await post(TRACES, otlp(span(1)))).status, 503);
    await sleep(200);
    assert.equal((await post(TRACES, otlp(span(1)))).status, 200);
  });

  test("a reset comes after the body and without an answer", async () => {
    await fault({ reset: true, first: 1 });
    const body = otlp(span(1, { name: "x".repeat(300_000) }));
    await assert.rejects(post(TRACES, body), (error) => error.cause?.code === "ECONNRESET");
    assert.equal((await post(TRACES, otlp(span(1)))).status, 200);
    assert.deepEqual(await statuses(), ["reset", 200]);
    assert.ok((await requests())[0].bytes > 300_000);
    assert.equal((await state()).rows, 1);
  });

  test("a hang lasts until the client gives up", async () => {
    await fault({ hang: true });
    const signal = AbortSignal.timeout(200);
    await assert.rejects(post(TRACES, otlp(span(1)), {}, { signal }), { name: "TimeoutError" });
    assert.deepEqual(await statuses(), ["hung"]);
    await fault({});
    assert.equal((await post(TRACES, otlp(span(1)))).status, 200);
  });

  test("a delayed request is stored when it is answered, even when nobody waits any more", async () => {
    await fault({ delayMs: 300 });
    const started = performance.now();
    const answer = post(TRACES, otlp(span(1)));
    await until(async () => (await state()).requests === 1);
    assert.deepEqual([(await state()).rows, await statuses()], [0, [null]]);
    assert.equal((await answer).status, 200);
    assert.ok(performance.now() - started >= 299);
    const signal = AbortSignal.timeout(50);
    await assert.rejects(post(TRACES, otlp(span(2)), {}, { signal }));
    await until(async () => (await state()).rows === 2);
  });

  test("a request from before a reset leaves nothing after it", async () => {
    await fault({ delayMs: 200 });
    const answer = post(TRACES, otlp(span(1)));
    await until(async () => (await state()).requests === 1);
    await server.reset();
    assert.equal((await answer).status, 503);
    const counts = await state();
    assert.deepEqual([counts.requests, counts.rows], [0, 0]);
  });

  test("a body above the limit is 413, on one route when told so", async () => {
    await fault({ maxBodyBytes: 1000, route: "traces" });
    assert.equal((await post(TRACES, otlp(span(1, { name: "x".repeat(1000) })))).status, 413);
    assert.equal((await post(TRACES, otlp(span(1)))).status, 200);
    assert.equal((await post(INGESTION, { batch: [score("s", { comment: "x".repeat(1000) })] })).status, 207);
  });

  test("a span by name makes the export a 400", async () => {
    await fault({ rejectNames: ["span 2"] });
    const refused = await post(TRACES, otlp(span(1), span(2)));
    assert.equal(refused.status, 400);
    assert.match((await refused.json()).error, /^Invalid OTLP trace export: .*span 2/);
    assert.equal((await post(TRACES, otlp(span(1)))).status, 200);
    assert.equal((await state()).rows, 1);
  });

  test("single events fail, the first time", async () => {
    await fault({
      first: 1,
      eventErrors: [
        { name: "bad", status: 400, message: "no" },
        { id: "s2", status: 500, message: "later" },
      ],
    });
    const batch = [score("s1", { name: "bad" }), score("s2"), score("s3")];
    const { successes, errors } = await (await post(INGESTION, { batch })).json();
    assert.deepEqual(successes, [{ id: "event-s3", status: 201 }]);
    assert.deepEqual(errors, [
      { id: "event-s1", status: 400, message: "no" },
      { id: "event-s2", status: 500, message: "later" },
    ]);
    const again = await (await post(INGESTION, { batch: [score("s2")] })).json();
    assert.deepEqual(again.successes, [{ id: "event-s2", status: 201 }]);
  });

  test("what is only read fails when it is named, and can be another server's", async () => {
    const READS = { health: "/api/public/health", projects: "/api/public/projects", observations: "/api/public/v2/observations", scores: "/api/public/v3/scores" };
    for (const route of Object.keys(READS)) {
      await fault({ status: 503, route });
      for (const [name, path] of Object.entries(READS)) {
        assert.equal((await get(path)).status, name === route ? 503 : 200, `${name} when ${route} fails`);
      }
      assert.equal((await post(TRACES, otlp())).status, 200);
    }
    await fault({ version: "3.100.0", legacy: true, clockAheadSeconds: 3600 });
    const health = await get(READS.health);
    assert.deepEqual(await health.json(), { status: "OK", version: "3.100.0" });
    assert.ok(Math.abs(Date.parse(health.headers.get("date")) - Date.now() - 3_600_000) < 5000);
    assert.equal((await get("/api/public/traces", {})).status, 401);
    await fault({});
    assert.match((await (await get("/api/public/traces", {})).json()).message, /events_only/);
  });

  test("what is written is not read back when told so", async () => {
    await post(TRACES, otlp(span(1)));
    await post(INGESTION, { batch: [score("s")] });
    const read = async () => [await json("/api/public/v2/observations"), await json("/api/public/v3/scores")].map(({ data }) => data.length);
    assert.deepEqual(await read(), [1, 1]);
    await fault({ unreadable: true });
    assert.deepEqual([await read(), (await state()).rows], [[0, 0], 1]);
  });

  test("a fault that cannot be meant is refused by name", async () => {
    const { status, body } = await server.post("faults", { stauts: 503 });
    assert.equal(status, 400);
    assert.match(body.message, /stauts/);
    assert.equal((await post(TRACES, otlp(span(1)))).status, 200);
  });
});

describe("the program", () => {
  test("takes a fault and its own keys, prints trees, and ends cleanly", async () => {
    const own = await startReceiver([
      ...["--public-key", "pk", "--secret-key", "sk"],
      ...["--print", "--fault", '{"status":500,"first":1}'],
    ]);
    try {
      const send = () =>
        fetch(own.url + TRACES, {
          method: "POST",
          headers: { authorization: `Basic ${btoa("pk:sk")}`, "content-type": "application/json" },
          body: JSON.stringify(otlp(span(1), span(2, { parentSpanId: spanId(1) }))),
        });
      assert.equal((await send()).status, 500);
      assert.equal((await send()).status, 200);
      await until(() => own.lines.some((line) => /^└─ SPAN  span 2  100 ms$/.test(line)));
      assert.ok(own.lines.some((line) => line.includes("LANGFUSE_SECRET_KEY=sk")));
    } finally {
      assert.equal(await own.stop(), 0);
    }
  });

  test("ends cleanly on an interrupt, also with a request open", async () => {
    const own = await startReceiver(["--fault", '{"hang":true}']);
    const open = fetch(own.url + TRACES, { method: "POST", body: "{}" }).catch((error) => error);
    await until(async () => (await own.state()).requests === 1);
    assert.equal(await own.stop("SIGINT"), 0);
    assert.ok((await open) instanceof Error);
  });

  test("says what is wrong with a flag", async () => {
    const { code, output } = await start(BIN, ["dev", "--fault", '{"stauts":1}']).done;
    assert.equal(code, 2);
    assert.match(output, /stauts/);
  });
});
