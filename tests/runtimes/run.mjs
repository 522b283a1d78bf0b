// Installs the packed npm package on every runtime, runs the same program there, and prints what worked.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { ROOT } from "../js/support/program.mjs";
import { startReceiver } from "../js/support/receiver.mjs";
import { INSTALLERS, rows } from "./rows.mjs";
import { startBrowser } from "./support/browser.mjs";
import { output } from "./support/process.mjs";
import { startRegistry } from "./support/registry.mjs";
import { checkTypes } from "./support/types.mjs";

const HERE = join(ROOT, "tests/runtimes");
const COLUMNS = ["installs", "loads", "records", "flushes", "equal"];
/** As many as keep two cores busy. */
const AT_ONCE = 3;
/** Of a problem, which may be a program's whole output. */
const LINES_SHOWN = 40;

const { LANGFUSE_EDGE_CHROMIUM: chromium } = process.env;
const expected = JSON.parse(await readFile(join(HERE, "expected.json"), "utf8"));
const started = performance.now();
const scratch = await mkdtemp(join(tmpdir(), "langfuse-edge-runtimes-"));
// The programs are a user's, who has neither our variables nor those of an npm that may have started this.
for (const name of Object.keys(process.env)) {
  if (/^(LANGFUSE|npm_)/i.test(name)) delete process.env[name];
}
const registry = await startRegistry(join(ROOT, "pkg"), scratch);
Object.assign(process.env, {
  NPM_CONFIG_REGISTRY: registry.url,
  NPM_CONFIG_CACHE: join(scratch, "npm-cache"),
  NPM_CONFIG_AUDIT: "false",
  NPM_CONFIG_UPDATE_NOTIFIER: "false",
  BUN_INSTALL_CACHE_DIR: join(scratch, "bun-cache"),
  DENO_DIR: join(scratch, "deno-cache"),
  DENO_NO_UPDATE_CHECK: "1",
  WRANGLER_LOG_PATH: join(scratch, "wrangler-logs"),
  WRANGLER_SEND_METRICS: "false",
});

const installations = new Map();
let browser;
try {
  browser = await startBrowser(chromium);
  const all = await rows(browser);
  const types = checkTypes(registry.tarball).then(() => undefined, (error) => error.message);
  const outcomes = new Map();
  const waiting = all.values();
  const work = async () => {
    for (const row of waiting) {
      const begun = performance.now();
      outcomes.set(row, { ...(await outcome(row)), seconds: (performance.now() - begun) / 1000 });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  print(all, outcomes, await types);
} finally {
  await browser?.close();
  registry.close();
  await rm(scratch, { recursive: true });
}

/** How far a runtime came, and why not further. */
async function outcome({ name, installer, main, page, run }) {
  const passed = [];
  const receiver = await startReceiver();
  try {
    const folder = join(await installed(installer), name.replace(/[^\w.]+/g, "-"));
    passed.push("installs");
    await mkdir(folder);
    await copyFile(join(HERE, "program.mjs"), join(folder, "program.mjs"));
    for (const file of [main, page ?? []].flat()) await copyFile(join(HERE, "hosts", file), join(folder, file));
    await writeFile(join(folder, "options.mjs"), `export const options = ${JSON.stringify(receiver.options)};\n`);
    const printed = await run(folder);
    const result = printed.split("\n").find((line) => line.startsWith('{"passed":'));
    assert.ok(result, `it printed no result:\n${printed}`);
    const { passed: steps, error } = JSON.parse(result);
    passed.push(...steps);
    assert.ok(!error, error);
    assert.deepEqual(await received(receiver), expected);
    passed.push("equal");
    return { passed };
  } catch (error) {
    return { passed, problem: error.message };
  } finally {
    await receiver.stop();
  }
}

/** The folder that an installer has put the package into; the rows with this installer share it. */
function installed(installer) {
  if (!installations.has(installer)) installations.set(installer, install(installer));
  return installations.get(installer);
}

async function install(installer) {
  const folder = join(scratch, installer.replace(/\W+/g, "-"));
  await mkdir(folder);
  const [command, ...args] = INSTALLERS[installer];
  // What a cache has needs no project.
  if (args[0] !== "cache") await writeFile(join(folder, "package.json"), '{ "private": true }\n');
  await output(command, args, { cwd: folder });
  return folder;
}

/** What arrived, by name, with names for what differs from run to run: ids, times and the version. */
async function received(receiver) {
  const arrived = await receiver.rows();
  const names = new Map(arrived.map(({ id, name }) => [id, name]));
  const traces = new Map(arrived.filter((row) => !row.parentObservationId).map(({ traceId, name }) => [traceId, name]));
  const now = Date.now();
  const time = (text) => (Math.abs(now - Date.parse(text)) < 60_000 ? "now" : text);
  return arrived
    .map(({ id, arrival, createdAt, startTimeUnixNano, endTimeUnixNano, spanKind, spanStatus, attributes, resource, scope, ...row }) => ({
      ...row,
      otlpAttributes: row.otlpAttributes.map(({ key, value }) => `${key}: ${Object.entries(value).flat().join(" ")}`),
      traceId: traces.get(row.traceId) ?? row.traceId,
      parentObservationId: names.get(row.parentObservationId) ?? row.parentObservationId,
      startTime: time(row.startTime),
      endTime: time(row.endTime),
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .concat((await receiver.scores()).map(({ timestamp, ...score }) => score))
    .map((row) => JSON.parse(JSON.stringify(row, (_, value) => written(value))));
}

/** As expected.json has it: without what says nothing, this version under that name, long texts as their hashes. */
function written(value) {
  if (value === null || (typeof value === "object" && Object.keys(value).length === 0)) return undefined;
  if (value === registry.version) return "this version";
  if (typeof value !== "string" || value.length < 1000) return value;
  return `${value.length} characters, sha256 ${createHash("sha256").update(value).digest("hex")}`;
}

function print(all, outcomes, typesProblem) {
  const width = Math.max(...all.map(({ name }) => name.length));
  const line = (name, cells, last) => console.log([name.padEnd(width), ...cells.map((cell) => cell.padEnd(8)), last].join("  "));
  line("", COLUMNS, "seconds");
  for (const row of all) {
    const { passed, seconds } = outcomes.get(row);
    line(row.name, COLUMNS.map((column) => (passed.includes(column) ? "yes" : "NO")), seconds.toFixed(1).padStart(7));
  }
  const problems = all.map((row) => [row.name, outcomes.get(row).problem]).concat([["types", typesProblem]]).filter(([, problem]) => problem);
  for (const [name, problem] of problems) console.log(`\n${name}: ${problem.split("\n").slice(0, LINES_SHOWN).join("\n")}`);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`\n${all.length} runtimes, ${problems.length || "no"} problem${problems.length === 1 ? "" : "s"}, ${seconds} s`);
  process.exitCode = problems.length ? 1 : 0;
}
