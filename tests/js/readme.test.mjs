// What the README tells its readers to write compiles, and its Workers deliver.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";

import { ROOT } from "./support/program.mjs";
import { receiverFor } from "./support/receiver.mjs";
import { until } from "./support/until.mjs";
import { bundle, workersFor } from "./support/workerd.mjs";

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

test("the Worker of the first snippet is traced and delivers by itself", async (t) => {
  const { call, trees } = await startSnippet(t, (code) => code.includes("await request.text()"));
  assert.equal(await call({ method: "POST", body: "Why?" }), "An answer to: Why?");
  assert.match(await trees(2), /SPAN +POST \/[^]*GENERATION +answer/);
});

test("the Worker that flushes by hand delivers after its response", async (t) => {
  const { call, trees } = await startSnippet(t, (code) => code.includes("ctx.waitUntil(langfuse.flush())"));
  assert.equal(await call(), "Hello!");
  assert.match(await trees(1), /GENERATION +answer +1 → 2 tokens +gpt-4o/);
});

/** Starts the Worker of the snippet that `isMeant` picks, and a receiver for it. */
async function startSnippet(t, isMeant) {
  const receiver = await receiverFor(t);
  const folder = await folderWithPackages(t);
  const entry = join(folder, "worker.mts");
  await writeFile(entry, SNIPPETS.find(isMeant));
  const { publicKey, secretKey, baseUrl } = receiver.options;
  const bindings = { LANGFUSE_PUBLIC_KEY: publicKey, LANGFUSE_SECRET_KEY: secretKey, LANGFUSE_BASE_URL: baseUrl };
  const modules = await bundle(pathToFileURL(entry));
  const compatibility = { compatibilityDate: "2026-04-01", compatibilityFlags: ["nodejs_compat"] };
  const worker = await workersFor(t, compatibility, [{ name: "readme", modules, bindings }]);
  return {
    call: async (init) => (await fetch(worker.url, init)).text(),
    trees: (count) => until(async () => (await receiver.state()).observations >= count && receiver.trees()),
  };
}

/** A user's folder, with what this repository has installed. */
async function folderWithPackages(t) {
  const folder = await mkdtemp(join(tmpdir(), "langfuse-edge-readme-"));
  t.after(() => rm(folder, { recursive: true }));
  await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"));
  return folder;
}
