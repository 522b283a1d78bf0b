// What the documents tell their readers to write compiles, and the Workers in them deliver.
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

/** Documents whose first snippet is a Worker, with the line of the tree that it makes. */
const DOCUMENTS = {
  "README.md": /GENERATION +answer +1 → 2 tokens +gpt-4o/,
  "docs/migrating-from-v3.md": /SPAN +chat\n└─ GENERATION +answer +1 → 2 tokens +gpt-4o\nSCORE +quality +1/,
};

for (const [document, tree] of Object.entries(DOCUMENTS)) {
  const text = await readFile(join(ROOT, document), "utf8");
  const snippets = [...text.matchAll(/^```ts\n(.*?)^```/gms)].map(([, code]) => code);

  test(`every TypeScript snippet of ${document} compiles as a strict user compiles it`, async (t) => {
    const folder = await folderWithPackages(t);
    assert.ok(snippets.length >= 2, "there are TypeScript snippets");
    const files = snippets.map((_, index) => `snippet-${index}.mts`);
    await Promise.all(snippets.map((code, index) => writeFile(join(folder, files[index]), code)));
    const options = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "--lib", "es2022,dom", "--types", ""];
    const tsc = join(ROOT, "node_modules/.bin/tsc");
    await promisify(execFile)(tsc, [...options, ...files], { cwd: folder }).catch(({ stdout }) => assert.fail(stdout));
  });

  test(`the Worker of the first snippet of ${document} delivers after its response`, async (t) => {
    const receiver = await receiverFor(t);
    const folder = await folderWithPackages(t);
    const entry = join(folder, "worker.mts");
    await writeFile(entry, snippets[0]);
    const { publicKey, secretKey, baseUrl } = receiver.options;
    const bindings = { LANGFUSE_PUBLIC_KEY: publicKey, LANGFUSE_SECRET_KEY: secretKey, LANGFUSE_BASE_URL: baseUrl };
    const modules = await bundle(pathToFileURL(entry));
    const worker = await workersFor(t, { compatibilityDate: "2026-04-01" }, [{ name: "document", modules, bindings }]);

    assert.equal(await (await fetch(worker.url)).text(), "Hello!");

    await until(async () => tree.test(await receiver.trees()));
  });
}

/** A user's folder, with what this repository has installed. */
async function folderWithPackages(t) {
  const folder = await mkdtemp(join(tmpdir(), "langfuse-edge-readme-"));
  t.after(() => rm(folder, { recursive: true }));
  await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"));
  return folder;
}
