// What the README tells its readers to write compiles, and its Worker delivers.
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

test("the Worker of the first snippet delivers after its response", async (t) => {
  const receiver = await receiverFor(t);
  const folder = await folderWithPackages(t);
  const entry = join(folder, "worker.mts");
  await writeFile(entry, SNIPPETS[0]);
  const { publicKey, secretKey, baseUrl } = receiver.options;
  const bindings = { LANGFUSE_PUBLIC_KEY: publicKey, LANGFUSE_SECRET_KEY: secretKey, LANGFUSE_BASE_URL: baseUrl };
  const modules = await bundle(pathToFileURL(entry));
  const worker = await workersFor(t, { compatibilityDate: "2026-04-01" }, [{ name: "readme", modules, bindings }]);

  assert.equal(await (await fetch(worker.url)).text(), "Hello!");

  const trees = await until(async () => (await receiver.state()).observations > 0 && receiver.trees());
  assert.match(trees, /GENERATION +answer +1 → 2 tokens +gpt-4o/);
});

/** A user's folder, with what this repository has installed. */
async function folderWithPackages(t) {
  const folder = await mkdtemp(join(tmpdir(), "langfuse-edge-readme-"));
  t.after(() => rm(folder, { recursive: true }));
  await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"));
  return folder;
}
