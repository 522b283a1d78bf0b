// Options and variables: what they switch, and what a bad one says.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Langfuse } from "langfuse-edge";

import { startScript } from "./support/program.mjs";
import { KEYS, receiverFor, variablesFor } from "./support/receiver.mjs";

const NO_KEYS = { LANGFUSE_PUBLIC_KEY: "", LANGFUSE_SECRET_KEY: "" };
const DISABLED = `
  import assert from "node:assert/strict";
  import { Langfuse } from "langfuse-edge";
  for (const options of JSON.parse(process.env.OPTIONS)) {
    const langfuse = new Langfuse(options ?? undefined);
    assert.equal(langfuse.enabled, false);
    const root = langfuse.startObservation("root", { input: 1 });
    const child = root.startObservation("child", {}, { asType: "generation" });
    assert.equal(child.update({ output: 2 }), child);
    assert.equal(child.traceId, root.traceId);
    assert.match(child.id, /^[0-9a-f]{16}$/);
    child.end();
    root.end();
    const report = await langfuse.flush();
    assert.deepEqual([report.ok, report.delivered, report.retained, report.attempts], [true, 0, 0, 0]);
  }`;

test("without keys everything is a no-op, with one warning for the whole process", async (t) => {
  const options = [null, {}, { publicKey: "pk-lf-1" }, { secretKey: "sk-lf-1", publicKey: "" }];
  const { code, output } = await startScript(t, DISABLED, { ...NO_KEYS, OPTIONS: JSON.stringify(options) }).done;
  assert.equal(code, 0, output);
  assert.equal(output, "langfuse-edge: tracing is disabled because publicKey (LANGFUSE_PUBLIC_KEY) is not set");
});

test("switched off on purpose, there is no warning", async (t) => {
  const options = [{ ...KEYS, enabled: false }];
  const { code, output } = await startScript(t, DISABLED, { ...NO_KEYS, OPTIONS: JSON.stringify(options) }).done;
  assert.deepEqual([code, output], [0, ""]);
  const env = { LANGFUSE_TRACING_ENABLED: "false", OPTIONS: JSON.stringify([KEYS]) };
  const byEnvironment = await startScript(t, DISABLED, env).done;
  assert.deepEqual([byEnvironment.code, byEnvironment.output], [0, ""]);
});

test("an option that cannot be used is an Error that names it and shows no key", () => {
  const bad = {
    publicKey: ["pk lf 1", "pk:lf:1", "pk-lf-\n1", "pk-lf-é"],
    secretKey: ["sk lf 1", "sk:lf:1", "sk-lf-\u{1F511}"],
    baseUrl: ["localhost:3000", "ftp://example.org", "https://", "https://user:hunter2@example.org", "https://example.org/?a=1", "http:// example.org"],
    enabled: ["maybe", 2],
    timeout: [0, -1, NaN, Infinity, "soon", 86_401],
    flushAt: [0, -1, 1.5, "many"],
    flushInterval: [-1, "often", 86_401],
  };
  for (const [option, values] of Object.entries(bad)) {
    for (const value of values) {
      assert.throws(
        () => new Langfuse({ ...KEYS, [option]: value }),
        (error) => {
          assert.ok(error instanceof Error);
          assert.match(error.message, new RegExp(`^langfuse-edge: ${option} \\(LANGFUSE_[A-Z_]+\\) must be `));
          for (const secret of [KEYS.publicKey, KEYS.secretKey, "hunter2"]) assert.ok(!error.message.includes(secret));
          if (option.endsWith("Key")) assert.ok(!error.message.includes(value));
          return true;
        },
        `${option}: ${String(value)}`,
      );
    }
  }
});

test("variables of an env object, of which a bad one is an Error that names it", async (t) => {
  const receiver = await receiverFor(t);
  const env = variablesFor(`${receiver.url}/`);
  const langfuse = Langfuse.fromEnv({ ...env, LANGFUSE_TRACING_ENVIRONMENT: "staging", LANGFUSE_RELEASE: "r2", BINDING: {} });
  assert.equal(langfuse.enabled, true);
  langfuse.startObservation("from env").end();
  assert.equal((await langfuse.flush()).delivered, 1);
  const [row] = await receiver.rows();
  assert.deepEqual([row.environment, row.release], ["staging", "r2"]);
  assert.throws(() => Langfuse.fromEnv({ ...env, LANGFUSE_TIMEOUT: "soon" }), /timeout \(LANGFUSE_TIMEOUT\) must be seconds above 0/);
  assert.throws(() => Langfuse.fromEnv({ ...env, LANGFUSE_HOST: "x", LANGFUSE_BASE_URL: "" }), /baseUrl \(LANGFUSE_BASE_URL\)/);
});

test("options win over process.env, which fills what they leave out", async (t) => {
  const receiver = await receiverFor(t);
  const source = `
    import { Langfuse } from "langfuse-edge";
    const langfuse = new Langfuse({ environment: "option" });
    langfuse.startObservation("env").end();
    console.log((await langfuse.flush()).delivered);`;
  const env = {
    LANGFUSE_PUBLIC_KEY: KEYS.publicKey,
    LANGFUSE_SECRET_KEY: KEYS.secretKey,
    LANGFUSE_HOST: receiver.url,
    LANGFUSE_TRACING_ENVIRONMENT: "variable",
    LANGFUSE_RELEASE: "variable",
  };
  assert.equal((await startScript(t, source, env).done).output, "1");
  const [row] = await receiver.rows();
  assert.deepEqual([row.environment, row.release], ["option", "variable"]);
});

test("the release is the one that a build has left, unless a variable or an option says it", async (t) => {
  const receiver = await receiverFor(t);
  const source = `
    import { Langfuse } from "langfuse-edge";
    for (const options of [{}, { release: "option" }]) {
      const langfuse = new Langfuse(options);
      langfuse.startObservation("one").end();
      await langfuse.flush();
    }
    const langfuse = Langfuse.fromEnv(process.env);
    langfuse.startObservation("one").end();
    await langfuse.flush();`;
  const env = variablesFor(receiver.url);
  const builds = { LANGFUSE_RELEASE: "", CI_COMMIT_SHA: " ", GITHUB_SHA: "from GitHub", DRONE_COMMIT_SHA: "from Drone", RENDER_GIT_COMMIT: "" };
  for (const [variables, releases] of [
    [builds, ["from GitHub", "option", "from GitHub"]],
    [{ ...builds, LANGFUSE_RELEASE: "variable" }, ["variable", "option", "variable"]],
  ]) {
    await receiver.reset();
    const { code, output } = await startScript(t, source, { ...env, ...variables }).done;
    assert.deepEqual([code, output], [0, ""]);
    assert.deepEqual((await receiver.rows()).map(({ release }) => release), releases);
  }
});

test("further headers go with every request, and none of the client's own is replaced", async (t) => {
  const receiver = await receiverFor(t);
  const seen = [];
  const { fetch } = globalThis;
  t.mock.method(globalThis, "fetch", (url, init) => {
    if (init?.method === "POST" && url.includes("/api/public/")) seen.push(new Headers(init.headers));
    return fetch(url, init);
  });
  const additionalHeaders = { "X-Proxy-Key": "secret", Authorization: "Bearer mine", "content-TYPE": "text/plain" };
  const env = variablesFor(receiver.url);
  for (const langfuse of [new Langfuse({ ...receiver.options, additionalHeaders }), Langfuse.fromEnv(env, { additionalHeaders })]) {
    langfuse.startObservation("one").end();
    langfuse.score.create({ name: "good", value: 1, sessionId: "s" });
    assert.equal((await langfuse.flush()).delivered, 2);
  }
  assert.deepEqual(seen.map((headers) => headers.get("x-proxy-key")), Array(4).fill("secret"));
  assert.deepEqual(additionalHeaders, { "X-Proxy-Key": "secret", Authorization: "Bearer mine", "content-TYPE": "text/plain" });
  for (const bad of [{ "not a name": "secret" }, { "x-a": "sec\nret" }, "secret", 5]) {
    assert.throws(() => new Langfuse({ ...KEYS, additionalHeaders: bad }), (error) => {
      assert.match(error.message, /^langfuse-edge: additionalHeaders must be an object of header names/);
      return !error.message.includes("secret");
    });
  }
});

test("options of Langfuse's other clients break nothing, and a mode there is none of is an Error", async (t) => {
  const receiver = await receiverFor(t);
  const others = {
    exportMode: "batched",
    mediaUploadEnabled: false,
    shouldExportSpan: () => false,
    sdkIntegration: "mine",
    fetchRetryCount: 3,
    fetchRetryDelay: 3000,
    requestTimeout: 5000,
    persistence: "memory",
    get anything() {
      throw new Error("boom");
    },
  };
  const langfuse = new Langfuse(Object.assign(Object.create(others), receiver.options));
  langfuse.startObservation("one").end();
  assert.equal((await langfuse.flush()).delivered, 1);
  assert.throws(() => new Langfuse({ ...KEYS, exportMode: "sometimes" }), /^Error: langfuse-edge: exportMode must be immediate or batched/);
});

test("LANGFUSE_LOG_LEVEL and LANGFUSE_DEBUG: no warnings, or what each flush did", async (t) => {
  const receiver = await receiverFor(t);
  const source = `
    import { Langfuse } from "langfuse-edge";
    new Langfuse({ publicKey: "" });
    const langfuse = new Langfuse(${JSON.stringify(receiver.options)});
    langfuse.score.create({ name: "" });
    langfuse.startObservation("one").end();
    await langfuse.flush();`;
  const warnings = [
    "langfuse-edge: tracing is disabled because publicKey (LANGFUSE_PUBLIC_KEY) is not set",
    "langfuse-edge: the score is left out: name must not be empty",
  ];
  const flushed = "langfuse-edge: flush: 1 delivered, 0 rejected, 0 retained, 0 dropped";
  for (const [variables, lines] of [
    [{}, warnings],
    [{ LANGFUSE_LOG_LEVEL: "WARN", LANGFUSE_DEBUG: "false" }, warnings],
    [{ LANGFUSE_LOG_LEVEL: "ERROR" }, []],
    [{ LANGFUSE_LOG_LEVEL: "DEBUG" }, [...warnings, flushed]],
    [{ LANGFUSE_DEBUG: "true" }, [...warnings, flushed]],
  ]) {
    const { code, output } = await startScript(t, source, { ...NO_KEYS, ...variables }).done;
    assert.deepEqual([code, output.split("\n").filter(Boolean).toSorted()], [0, lines.toSorted()]);
  }
});
