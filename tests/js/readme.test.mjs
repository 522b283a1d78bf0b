// What the README tells its readers to write compiles, and its Worker delivers.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { build } from "esbuild";
import { Log, LogLevel, Miniflare } from "miniflare";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const RECEIVER = process.env.LANGFUSE_EDGE_BIN ?? join(ROOT, "target/debug/langfuse-edge");
const README = await readFile(join(ROOT, "README.md"), "utf8");
const SNIPPETS = [...README.matchAll(/^```ts\n(.*?)^```/gms)].map(([, code]) => code);

test("every TypeScript snippet compiles as a strict user compiles it", async (t) => {
  const folder = await folderWithPackages(t);
  assert.ok(SNIPPETS.length >= 2, "the README has TypeScript snippets");
  const files = SNIPPETS.map((_, index) => `snippet-${index}.mts`);
  await Promise.all(SNIPPETS.map((code, index) => writeFile(join(folder, files[index]), code)));
  const options = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "--lib", "es2022,dom", "--types", ""];
  const tsc = join(ROOT, "node_modules/.bin/tsc");
  await promisify(execFile)(tsc, [...options, ...files], { cwd: folder }).catch(({ stdout }) => assert.fail(stdout));
});

test("the Worker of the first snippet delivers after its response", async (t) => {
  const receiver = await startReceiver(t);
  const folder = await folderWithPackages(t);
  await writeFile(join(folder, "worker.mts"), SNIPPETS[0]);
  const { outputFiles } = await build({
    absWorkingDir: folder,
    entryPoints: ["worker.mts"],
    outdir: folder,
    bundle: true,
    write: false,
    format: "esm",
    conditions: ["workerd", "worker"],
    loader: { ".wasm": "copy" },
  });
  const module = ({ path, contents }) => ({ type: path.endsWith(".wasm") ? "CompiledWasm" : "ESModule", path: basename(path), contents });
  const worker = new Miniflare({
    modules: outputFiles.map(module).sort((one, other) => other.type.localeCompare(one.type)),
    modulesRoot: ".",
    compatibilityDate: "2026-04-01",
    cf: false,
    log: new Log(LogLevel.NONE),
    bindings: { LANGFUSE_PUBLIC_KEY: "pk-lf-dev", LANGFUSE_SECRET_KEY: "sk-lf-dev", LANGFUSE_BASE_URL: receiver },
  });
  t.after(() => worker.dispose());

  const response = await worker.dispatchFetch("http://worker.example/");

  assert.equal(await response.text(), "Hello!");
  const trees = await eventually(async () => {
    const text = await (await fetch(`${receiver}/dev/trees?format=text&normalized=true`)).text();
    return text.includes("answer") && text;
  });
  assert.match(trees, /GENERATION +answer +1 → 2 tokens +gpt-4o/);
});

/** A user's folder, with what this repository has installed. */
async function folderWithPackages(t) {
  const folder = await mkdtemp(join(tmpdir(), "langfuse-edge-readme-"));
  t.after(() => rm(folder, { recursive: true }));
  await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"));
  return folder;
}

async function startReceiver(t) {
  const receiver = spawn(RECEIVER, ["dev"], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => receiver.kill());
  for await (const line of createInterface({ input: receiver.stdout })) {
    return line.split(" on ")[1];
  }
  assert.fail("the receiver ended without a word");
}

/** What `look` sees as soon as it sees something. */
async function eventually(look) {
  for (let deadline = Date.now() + 10_000; Date.now() < deadline; ) {
    const seen = await look();
    if (seen) return seen;
  }
  assert.fail("nothing arrived within 10 s");
}
