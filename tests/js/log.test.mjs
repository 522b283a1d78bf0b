// Logs and the console as events, and what a program can be asked about its tracing.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { afterEach, describe, test } from "node:test";

import { flushLangfuse, getLangfuse, isEnabled, Langfuse, log, setLangfuse, startActiveObservation, startObservation, status, step } from "langfuse-edge";
import { captureConsole } from "langfuse-edge/console";

import { nobodyListens } from "./support/http-server.mjs";
import { observed } from "./support/observed.mjs";
import { startScript } from "./support/program.mjs";
import { KEYS, variablesFor } from "./support/receiver.mjs";

const { client, receiver, rows } = observed();

const METHODS = ["debug", "log", "info", "warn", "error"];
/** What the console printed in the place of printing it. */
let printed = [];
const originals = Object.fromEntries(METHODS.map((name) => [name, console[name]]));
function silence() {
  printed = [];
  for (const name of METHODS) console[name] = (...args) => printed.push([name, ...args]);
}
const releases = [];
function capture(options) {
  const release = captureConsole(options);
  releases.push(release);
  return release;
}
afterEach(() => {
  releases.splice(0).forEach((release) => release());
  Object.assign(console, originals);
});

describe("log", () => {
  test("records events of the four levels below the current observation", async () => {
    await step("import", () => {
      log("debug", "begun");
      log("info", "read", { rows: 7, from: { file: "a.csv" } });
      log("warn", "left out", [1, 2]);
      log("error", "failed", new Error("disk full"));
    });
    const found = await rows();
    const parent = found.import.id;
    const said = (name) => [found[name].type, found[name].parentObservationId, found[name].level, found[name].statusMessage];
    assert.deepEqual(said("begun"), ["EVENT", parent, "DEBUG", null]);
    assert.deepEqual(said("read"), ["EVENT", parent, "DEFAULT", null]);
    assert.deepEqual(said("left out"), ["EVENT", parent, "WARNING", "left out"]);
    assert.deepEqual(said("failed"), ["EVENT", parent, "ERROR", "failed"]);
    assert.deepEqual(found.read.metadata.rows, "7");
    assert.equal(found.read.metadata.from, '{"file":"a.csv"}');
    assert.equal(found["left out"].metadata.data, "[1,2]");
    assert.match(found.failed.metadata.data, /disk full/);
  });

  test("goes below a parent, else below nothing, and to a client of one's own", async () => {
    const parent = startObservation("parent");
    log("info", "below", undefined, { parent });
    parent.end();
    const own = new Langfuse(receiver().options);
    log("info", "own", undefined, { client: own });
    await own.flush();
    log("info", "alone");
    const found = await rows();
    assert.equal(found.below.parentObservationId, found.parent.id);
    assert.deepEqual([found.alone.parentObservationId, found.own.parentObservationId], [null, null]);
  });

  test("a long message is whole in the status message, and the name is its beginning", async () => {
    const message = `${"long ".repeat(40)}\nsecond line`;
    log("info", message);
    const [row] = Object.values(await rows());
    assert.deepEqual([row.name, row.statusMessage], [message.slice(0, 120), message]);
  });

  test("a level that is none is said, and recorded as info; nothing throws", async () => {
    silence();
    log("fatal", "what");
    log("toString", 7);
    const found = await rows();
    assert.deepEqual([found.what.level, found["7"].level], ["DEFAULT", "DEFAULT"]);
    assert.deepEqual(printed[0], ["warn", "langfuse-edge: log: level must be debug, info, warn or error: recorded as info"]);
    setLangfuse(new Langfuse({ enabled: false }));
    log("info", "nothing");
  });
});

describe("the captured console", () => {
  test("prints as ever, and is recorded below the current observation from a level on", async () => {
    silence();
    capture();
    await step("work", () => {
      console.debug("not this");
      console.log("%s of %d rows, %j", "two", 3, { a: 1 }, "and more", 4);
      console.info("info");
      console.warn("warning", { code: 7 });
      console.error(new TypeError("broken"));
    });
    console.log("outside");
    assert.deepEqual(printed.map(([name, first]) => [name, String(first)]), [
      ["debug", "not this"],
      ["log", "%s of %d rows, %j"],
      ["info", "info"],
      ["warn", "warning"],
      ["error", "TypeError: broken"],
      ["log", "outside"],
    ]);
    const found = await rows();
    const { work, ...lines } = found;
    assert.deepEqual(Object.values(lines).map(({ parentObservationId }) => parentObservationId), [work.id, work.id, work.id, work.id]);
    assert.equal(found['two of 3 rows, {"a":1} and more 4'].level, "DEFAULT");
    assert.deepEqual([found.info.level, found['warning {"code":7}'].level], ["DEFAULT", "WARNING"]);
    const error = Object.values(lines).find(({ level }) => level === "ERROR");
    assert.match(error.statusMessage, /TypeError: broken/);
  });

  test("can take everything, or errors only", async () => {
    silence();
    const release = capture({ level: "debug" });
    await step("all", () => console.debug("debug"));
    assert.equal((await rows()).debug.level, "DEBUG");
    release();
    await client();
    capture({ level: "error" });
    await step("errors", () => (console.warn("warning"), console.error("error")));
    assert.deepEqual(Object.keys(await rows()).toSorted(), ["error", "errors"]);
    assert.throws(() => captureConsole({ level: "fatal" }), /^Error: langfuse-edge: captureConsole: level must be debug, info, warn or error$/);
  });

  test("released, the console is what it was; a replacement of somebody else's stays", async () => {
    silence();
    const { log: own } = console;
    const release = capture();
    assert.notEqual(console.log, own);
    const theirs = (...args) => printed.push(["theirs", ...args]);
    console.warn = theirs;
    release();
    release();
    assert.deepEqual([console.log, console.warn], [own, theirs]);
    await step("quiet", () => console.log("not recorded"));
    assert.deepEqual(Object.keys(await rows()), ["quiet"]);
  });

  test("captured twice, also by require, a line is one event", async () => {
    silence();
    capture();
    capture();
    const required = createRequire(import.meta.url)("langfuse-edge/console");
    required.captureConsole()();
    await step("once", () => console.log("line"));
    assert.deepEqual(Object.keys(await rows()).toSorted(), ["line", "once"]);
  });

  test("required, it records for the client that was imported", async () => {
    silence();
    const required = createRequire(import.meta.url)("langfuse-edge/console");
    const release = required.captureConsole();
    await step("around", () => console.log("line"));
    release();
    const found = await rows();
    assert.equal(found.line.parentObservationId, found.around.id);
  });

  test("our own warnings are no events, nor is what recording prints", async () => {
    silence();
    const mask = ({ data }) => (console.log("masking"), data);
    await client({ mask });
    capture();
    await step("work", () => {
      log("fatal", "odd level");
      console.warn("line");
    });
    assert.deepEqual(Object.keys(await rows()).toSorted(), ["line", "odd level", "work"]);
  });

  test("a value that cannot be shown is printed all the same", async () => {
    silence();
    capture();
    const hostile = { toJSON() { throw new Error("no"); }, toString() { throw new Error("no"); } };
    await step("work", () => console.log("%s", hostile, Symbol("s"), 1n, undefined));
    assert.equal(printed.length, 1);
    assert.equal(Object.keys(await rows()).length, 2);
  });
});

describe("status", () => {
  test("says host, the beginning of the key, what waits, and the last delivery; never the secret", async () => {
    const langfuse = await client({ publicKey: KEYS.publicKey });
    assert.ok(isEnabled());
    const unfinished = startObservation("unfinished");
    startObservation("one").end();
    const before = status();
    assert.deepEqual([before.whyDisabled, before.open], [undefined, 1]);
    unfinished.end();
    assert.equal(status().open, 0);
    assert.deepEqual([before.enabled, before.host, before.publicKey, before.queued, before.lastDelivery, before.lastError], [true, receiver().url, "pk-lf-dev", 1, undefined, undefined]);
    assert.ok(before.bytes > 0);
    const start = Date.now();
    await flushLangfuse();
    const after = status();
    assert.deepEqual([after.queued, after.inFlight, after.delivered, after.lost], [0, 0, 2, 0]);
    assert.ok(after.lastDelivery instanceof Date && after.lastDelivery >= start - 1);
    assert.ok(!JSON.stringify(status(langfuse)).includes(KEYS.secretKey));
    const long = new Langfuse({ ...KEYS, publicKey: "pk-lf-0123456789", baseUrl: receiver().url });
    assert.equal(status(long).publicKey, "pk-lf-0123…");
  });

  test("says what the last flush that failed said", async (t) => {
    t.mock.method(console, "warn", () => {});
    setLangfuse(new Langfuse({ ...KEYS, baseUrl: await nobodyListens(), flushAt: 1_000_000, flushInterval: 0 }));
    startObservation("one").end();
    await flushLangfuse({ timeoutMs: 50 });
    const { queued, lastError, lastDelivery } = status();
    assert.deepEqual([queued, lastDelivery, lastError.message], [1, undefined, "langfuse-edge: flush: 0 delivered, 0 rejected, 1 retained, 0 dropped: the server gives no answer"]);
    assert.ok(lastError.at instanceof Date);
  });

  test("of a disabled client says why", () => {
    const keys = { publicKey: KEYS.publicKey, secretKey: KEYS.secretKey };
    for (const [options, why] of [
      [{ ...keys, enabled: false }, "enabled (LANGFUSE_TRACING_ENABLED) is false"],
      [{ ...keys, publicKey: " " }, "publicKey (LANGFUSE_PUBLIC_KEY) is not set"],
      [{ ...keys, secretKey: "" }, "secretKey (LANGFUSE_SECRET_KEY) is not set"],
    ]) {
      const { enabled, whyDisabled, open } = status(new Langfuse(options));
      assert.deepEqual([enabled, whyDisabled, open], [false, why, 0]);
    }
    const freed = new Langfuse(receiver().options);
    freed.free();
    assert.equal(status(freed).whyDisabled, "it was freed");
  });

  test("of the client that was to be made from an environment that cannot be used names the variable", async (t) => {
    const source = `
      import { status } from "langfuse-edge";
      console.log(status().whyDisabled);`;
    const env = variablesFor("not a url");
    const { output } = await startScript(t, source, env).done;
    assert.match(output, /^baseUrl \(LANGFUSE_BASE_URL\) must be an http or https URL/m);
  });

  test("of a disabled client has no host and no key", () => {
    setLangfuse(new Langfuse({ enabled: false, ...KEYS }));
    assert.equal(isEnabled(), false);
    const { enabled, host, publicKey } = status(getLangfuse());
    assert.deepEqual([enabled, host, publicKey], [false, undefined, undefined]);
    startActiveObservation("nothing", () => log("info", "nothing"));
  });
});
