// `npx langfuse-edge doctor` beside the Rust program's: the same checks, verdicts, words and exit codes.
import assert from "node:assert/strict";
import { once } from "node:events";
import { chmod, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { createServer as createEncryptedServer } from "node:https";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { describe, test } from "node:test";

import { CLOUD } from "../../pkg/dist/doctor-server.js";
import { certificates } from "./support/certificate.mjs";
import { addressFor, nobodyListens } from "./support/http-server.mjs";
import { ROOT, start } from "./support/program.mjs";
import { BIN, receiverFor, variablesFor } from "./support/receiver.mjs";

const CLI = join(ROOT, "pkg/dist/cli.js");
const PROGRAMS = { rust: [BIN], node: [process.execPath, CLI] };
const CHECKS = ["environment", "dns", "connect", "tls", "server", "keys", "clock", "trace", "read-back", "score", "limits"];
const MARKS = { ok: "✓", failed: "✗", not_run: "–" };
/** The client in Node.js compresses nothing. */
const RUST_ONLY = "LANGFUSE_OTEL_COMPRESSION";

function run([command, ...first], args, baseUrl, env = {}) {
  const none = { http_proxy: "", HTTP_PROXY: "", all_proxy: "", ALL_PROXY: "", https_proxy: "", HTTPS_PROXY: "" };
  return start(command, [...first, ...args], { ...none, ...variablesFor(baseUrl), ...env }).done;
}

async function examine(program, args, baseUrl, env) {
  const { code, output } = await run(program, ["doctor", "--json", ...args], baseUrl, env);
  const report = JSON.parse(output);
  assert.deepEqual(report.checks.map(({ check }) => check), CHECKS);
  return { code, output, report, marks: report.checks.map(({ status }) => MARKS[status]).join("") };
}

/** What both find, which must be the same but for times, ids and what a host calls an error. */
async function both(marks, { args = [], baseUrl, env }) {
  const [rust, node] = await Promise.all([PROGRAMS.rust, PROGRAMS.node].map((program) => examine(program, args, baseUrl, env)));
  assert.deepEqual([node.marks, rust.marks], [marks, marks], `${node.output}\n${rust.output}`);
  const expected = marks.includes("✗") ? 1 : 0;
  assert.deepEqual([node.code, rust.code], [expected, expected]);
  const told = ({ report: { ok, server, version, variables, checks } }) => ({
    ...{ ok, server, version },
    variables: variables.filter(({ name }) => name !== RUST_ONLY),
    checks: checks.map(({ check, status, reason, fix }) => {
      const words = reason.replace(/(?<=no answer|takes no connection|has no address|no encrypted connection): .*/, ": …");
      return { check, status, fix, reason: words.replace(/[0-9a-f]{32}|\b1[34] variables|\d+/g, "#") };
    }),
  });
  assert.deepEqual(told(node), told(rust));
  return node.report;
}

/** A server that answers whatever it is asked with this text, or keeps silent. */
async function tcpServer(t, text) {
  const sockets = new Set();
  const server = createServer((socket) => {
    sockets.add(socket.on("error", () => {}));
    if (text) socket.once("data", () => socket.end(text));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return `127.0.0.1:${server.address().port}`;
}

/** What goes wrong at once leaves a busy machine its time; what does so in the end must not take long. */
function patience({ hang, unreadable, route, status }) {
  if (hang) return ["--timeout", "1"];
  if (unreadable || route === "observations") return ["--wait", "0.5"];
  return status === 503 ? ["--timeout", "3"] : [];
}

describe("both programs agree", () => {
  test("on a healthy setup, which has a trace and a score of each", async (t) => {
    const receiver = await receiverFor(t);
    const { checks } = await both("✓✓✓–✓✓✓✓✓✓✓", { baseUrl: receiver.url });
    const rows = (await receiver.rows()).filter(({ name }) => name === "langfuse-edge doctor");
    assert.equal(rows.length, 2);
    assert.deepEqual(rows.map(({ traceName, input }) => [traceName, input]), Array(2).fill(["langfuse-edge doctor", "Can you hear me?"]));
    assert.ok(rows.some(({ traceId }) => checks[7].reason.includes(traceId)));
    const scores = await receiver.scores();
    assert.deepEqual(scores.map(({ traceId }) => traceId).toSorted(), rows.map(({ traceId }) => traceId).toSorted());
  });

  test("on what fails at the server", async (t) => {
    const receiver = await receiverFor(t);
    for (const [fault, marks] of [
      [{ status: 503, route: "health" }, "✓✓✓–✗–✓––––"],
      [{ hang: true, route: "health" }, "✓✓✓–✗––––––"],
      [{ reset: true, route: "health" }, "✓✓✓–✗––––––"],
      [{ version: "2.95.0" }, "✓✓✓–✗✓✓✓✓✓✓"],
      [{ version: "3.100.0", legacy: true }, "✓✓✓–✓✓✓✓✓✓✓"],
      [{ status: 403, route: "projects" }, "✓✓✓–✓✗✓––––"],
      [{ status: 500, route: "projects" }, "✓✓✓–✓✗✓––––"],
      [{ clockAheadSeconds: 3600 }, "✓✓✓–✓✓✗✓✓✓✓"],
      [{ clockAheadSeconds: -90 }, "✓✓✓–✓✓✗✓✓✓✓"],
      [{ status: 401 }, "✓✓✓–✓✓✓✗–✗–"],
      [{ status: 403 }, "✓✓✓–✓✓✓✗–✗–"],
      [{ status: 404, route: "traces" }, "✓✓✓–✓✓✓✗–✓–"],
      [{ status: 503 }, "✓✓✓–✓✓✓✗–✗–"],
      [{ status: 429, retryAfter: "60" }, "✓✓✓–✓✓✓✗–✗–"],
      [{ hang: true, route: "traces" }, "✓✓✓–✓✓✓✗–✓–"],
      [{ rejectNames: ["langfuse-edge doctor"] }, "✓✓✓–✓✓✓✗–✓–"],
      [{ unreadable: true }, "✓✓✓–✓✓✓✓✗✓✓"],
      [{ status: 503, route: "observations" }, "✓✓✓–✓✓✓✓✗✓✓"],
      [{ status: 404, route: "observations" }, "✓✓✓–✓✓✓✓–✓✓"],
      [{ status: 503, route: "ingestion" }, "✓✓✓–✓✓✓✓✓✗✓"],
      [{ eventErrors: [{ name: "langfuse-edge doctor", status: 400, message: "no" }] }, "✓✓✓–✓✓✓✓✓✗✓"],
      [{ maxBodyBytes: 1_000_000 }, "✓✓✓–✓✓✓✓✓✓✗"],
    ]) {
      await receiver.fault(fault);
      await both(marks, { args: patience(fault), baseUrl: receiver.url });
    }
  });

  test("on servers that are none", async (t) => {
    const silent = await tcpServer(t);
    const other = await tcpServer(t, "220 mail.example.org\r\n");
    const page = await tcpServer(t, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    const moved = await tcpServer(t, "HTTP/1.1 308 Moved\r\nlocation: https://example.org/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    for (const [baseUrl, marks] of [
      ["http://langfuse.invalid", "✓✗–––––––––"],
      [await nobodyListens(), "✓✓✗––––––––"],
      [`http://${silent}`, "✓✓✓–✗––––––"],
      [`https://${silent}`, "✓✓✓✗–––––––"],
      [`http://${other}`, "✓✓✓–✗––––––"],
      [`https://${other}`, "✓✓✓✗–––––––"],
      [`http://${page}`, "✓✓✓–✗––––––"],
      [`http://${moved}`, "✓✓✓–✗––––––"],
      ["https://me:hunter2@example.org", "✗––––––––––"],
    ]) {
      await both(marks, { args: ["--timeout", "1"], baseUrl });
    }
  });

  test("on an encrypted server, once they trust its certificate", async (t) => {
    const receiver = await receiverFor(t);
    const { ca, cert, key } = certificates();
    const server = createEncryptedServer({ cert, key }, (asked, answer) => {
      const { method, headers, url } = asked;
      const passed = request(receiver.url + url, { method, headers }, (response) => {
        response.pipe(answer.writeHead(response.statusCode, response.headers));
      });
      asked.pipe(passed);
    });
    const baseUrl = `https://${await addressFor(t, server)}`;
    const { checks } = await both("✓✓✓✗–––––––", { baseUrl });
    assert.match(checks[3].fix, /trusts who signed it/);

    // Elsewhere the Rust program trusts what the system's own store trusts, and no file.
    if (process.platform !== "linux") return;
    const folder = await mkdtemp(join(tmpdir(), "langfuse-edge-doctor-"));
    t.after(() => rm(folder, { recursive: true }));
    const trusted = join(folder, "ca.pem");
    await writeFile(trusted, ca);
    await both("✓✓✓✓✓✓✓✓✓✓✓", { baseUrl, env: { NODE_EXTRA_CA_CERTS: trusted, SSL_CERT_FILE: trusted } });
  });

  test("on each variable that is set, absent or bad, and show no secret", async (t) => {
    const receiver = await receiverFor(t);
    for (const [env, marks] of [
      [{ LANGFUSE_PUBLIC_KEY: "" }, "✗✓✓–✓–✓––––"],
      [{ LANGFUSE_SECRET_KEY: " " }, "✗✓✓–✓–✓––––"],
      [{ LANGFUSE_PUBLIC_KEY: "pk-lf-hunter 2" }, "✗✓✓–✓–✓––––"],
      [{ LANGFUSE_PUBLIC_KEY: "sk-lf-hunter2" }, "✗✓✓–✓–✓––––"],
      [{ LANGFUSE_SECRET_KEY: "pk-lf-hunter2" }, "✗✓✓–✓–✓––––"],
      [{ LANGFUSE_PUBLIC_KEY: "hunter2" }, "✓✓✓–✓✓✓✓✓✓✓"],
      [{ LANGFUSE_TRACING_ENABLED: "false" }, "✗✓✓–✓✓✓––––"],
      [{ LANGFUSE_TRACING_ENABLED: "hunter2" }, "✗✓✓–✓✓✓––––"],
      [{ LANGFUSE_SAMPLE_RATE: "0.0" }, "✗✓✓–✓✓✓––––"],
      [{ LANGFUSE_SAMPLE_RATE: "hunter2" }, "✗✓✓–✓✓✓––––"],
      [{ LANGFUSE_TIMEOUT: "hunter2", LANGFUSE_FLUSH_AT: "0", LANGFUSE_FLUSH_INTERVAL: "-1" }, "✗✓✓–✓✓✓––––"],
      [{ LANGFUSE_AMBIGUOUS: "hunter2" }, "✗✓✓–✓✓✓––––"],
      [{ LANGFUSE_FLUSH_AT: "100001" }, "✓✓✓–✓✓✓✓✓✓✗"],
      [{ LANGFUSE_HOST: "http://127.0.0.1:9", LANGFUSE_SAMPLE_RATE: "0.25", LANGFUSE_RELEASE: "r1" }, "✓✓✓–✓✓✓✓✓✓✓"],
    ]) {
      assert.ok(!JSON.stringify(await both(marks, { baseUrl: receiver.url, env })).includes("hunter"), JSON.stringify(env));
    }
  });

  test("on wrong keys, which go to other servers only when that is asked for", async (t) => {
    const here = await receiverFor(t);
    const there = await receiverFor(t, ["--secret-key", "sk-lf-elsewhere"]);
    const env = { LANGFUSE_SECRET_KEY: "sk-lf-elsewhere" };
    const keys = async (args) => {
      const { checks } = await both("✓✓✓–✓✗✓––––", { args, baseUrl: here.url, env });
      return checks.find(({ check }) => check === "keys");
    };
    assert.match((await keys([])).fix, /--regions tries the others/);
    assert.equal((await keys([`--regions=${here.url},${there.url}/`])).fix, `set LANGFUSE_BASE_URL=${there.url}`);
    assert.match((await keys([`--regions=${await nobodyListens()}`])).reason, /none of the others does/);
  });

  test("on where else a project of Langfuse Cloud may be", async (t) => {
    const receiver = await receiverFor(t);
    // Whose proxy is nobody asks nobody, whatever the machine can reach.
    const env = { LANGFUSE_SECRET_KEY: "sk-lf-elsewhere", HTTPS_PROXY: await nobodyListens(), NO_PROXY: "127.0.0.1" };
    const { report } = await examine(PROGRAMS.rust, ["--regions"], receiver.url, env);
    assert.equal(report.checks[5].reason, `the server does not know them (401), and none of the others does: ${CLOUD.join(", ")}`);
  });

  test("on what cannot be meant", async () => {
    for (const args of [
      [],
      ["doctor", "--timeout", "soon"],
      ["doctor", "--timeout"],
      ["doctor", "--wait", "0"],
      ["doctor", "--regions=langfuse"],
      ["doctor", "--region"],
      ["doctor", "now"],
      ["physician"],
    ]) {
      for (const program of Object.values(PROGRAMS)) {
        const { code, output } = await run(program, args, "http://127.0.0.1:9");
        assert.deepEqual([code, output.includes("✓")], [2, false], `${program} ${args}: ${output}`);
      }
    }
  });
});

describe("the program of the npm package", () => {
  test("prints the table that the Rust program prints", async (t) => {
    const receiver = await receiverFor(t);
    const table = async (program) => {
      const { output } = await run(program, ["doctor"], receiver.url);
      const lines = output.split("\n").filter((line) => !line.includes(RUST_ONLY));
      return lines.map((line) => line.replace(/[0-9a-f]{32}|\b1[34] variables|\d+(?= ms)/g, "#"));
    };
    const lines = await table(PROGRAMS.node);
    assert.deepEqual(lines, await table(PROGRAMS.rust));
    assert.equal(lines.at(-1), "All is well.");
  });

  test("ends as it would when nobody reads its output", async (t) => {
    const receiver = await receiverFor(t);
    const { output } = await run(["sh", "-c", '{ "$0" "$@"; echo $? >&2; } | :', ...PROGRAMS.node], ["doctor"], receiver.url);
    assert.equal(output, "0");
  });

  test("finds what is the matter where a proxy of the environment is of no help either", async () => {
    const env = { NODE_USE_ENV_PROXY: "1", http_proxy: await nobodyListens() };
    const { marks } = await examine(PROGRAMS.node, [], "http://langfuse.invalid", env);
    assert.equal(marks, "✓✗–––––––––");
  });

  test("says what it is and can do", async () => {
    const { version, bin } = JSON.parse(await readFile(join(ROOT, "pkg/package.json"), "utf8"));
    assert.deepEqual(bin, { "langfuse-edge": "./dist/cli.js" });
    assert.equal((await run(PROGRAMS.node, ["--version"], "")).output, `langfuse-edge ${version}`);
    assert.match((await run(PROGRAMS.node, ["doctor", "--help"], "")).output, /--regions/);
    assert.match((await run(PROGRAMS.node, ["dev"], "")).output, /cargo install langfuse-edge --features cli/);
  });
});

test("what the documents tell to type works", async (t) => {
  const receiver = await receiverFor(t);
  const folder = await mkdtemp(join(tmpdir(), "langfuse-edge-doctor-"));
  t.after(() => rm(folder, { recursive: true }));
  // As `npx` runs it where the package is installed.
  await writeFile(join(folder, "npx"), `#!/bin/sh\ntest "$1" = langfuse-edge && shift && exec ${process.execPath} ${CLI} "$@"\n`);
  await chmod(join(folder, "npx"), 0o755);
  await symlink(BIN, join(folder, "langfuse-edge"));
  for (const document of ["README.md", "docs/troubleshooting.md"]) {
    const text = await readFile(join(ROOT, document), "utf8");
    const snippets = [...text.matchAll(/^```sh\n(.*?)^```/gms)].map(([, code]) => code).filter((code) => code.includes("doctor"));
    assert.ok(snippets.length, document);
    for (const snippet of snippets) {
      const env = { PATH: [folder, process.env.PATH].join(delimiter) };
      const { code, output } = await run(["sh", "-e", "-c"], [snippet], receiver.url, env);
      assert.equal(code, 0, `${snippet}\n${output}`);
      assert.match(output, /All is well\.|"ok": true/);
    }
  }
});

test("the troubleshooting guide has a row for each check, in order", async () => {
  const text = await readFile(join(ROOT, "docs/troubleshooting.md"), "utf8");
  assert.deepEqual([...text.matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, check]) => check), CHECKS);
});
