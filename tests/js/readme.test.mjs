// What the documents tell their readers to write compiles, and the Workers in them deliver.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";

import { transform } from "esbuild";

import { ROOT, startScript } from "./support/program.mjs";
import { receiverFor } from "./support/receiver.mjs";
import { until } from "./support/until.mjs";
import { bundle, workersFor } from "./support/workerd.mjs";

const DOCUMENTS = ["README.md", "docs/migrating-from-v3.md", "docs/workers.md", "docs/llamaindex.md"];
const [README, MIGRATING, WORKERS, LLAMAINDEX] = await Promise.all(DOCUMENTS.map(snippetsOf));

async function snippetsOf(document) {
  const text = await readFile(join(ROOT, document), "utf8");
  return { document, snippets: [...text.matchAll(/^```ts\n(.*?)^```/gms)].map(([, code]) => code) };
}

for (const { document, snippets } of [README, MIGRATING, WORKERS, LLAMAINDEX]) {
  test(`every TypeScript snippet of ${document} compiles as a strict user compiles it`, async (t) => {
    const folder = await folderWithPackages(t);
    assert.ok(snippets.length >= 2, "there are TypeScript snippets");
    const files = snippets.map((_, index) => `snippet-${index}.mts`);
    await Promise.all(snippets.map((code, index) => writeFile(join(folder, files[index]), code)));
    const options = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "--lib", "es2022,dom", "--types", ""];
    // The types of LlamaIndex name packages that it does not bring.
    if (document === "docs/llamaindex.md") options.push("--skipLibCheck");
    const tsc = join(ROOT, "node_modules/.bin/tsc");
    await promisify(execFile)(tsc, [...options, ...files], { cwd: folder }).catch(({ stdout }) => assert.fail(stdout));
  });
}

test("the README's first Worker is traced and delivers by itself", async (t) => {
  const { call, trees } = await startSnippet(t, README, (code) => code.includes("await request.text()"));
  assert.equal(await call({ method: "POST", body: "Why?" }), "An answer to: Why?");
  await trees(/SPAN +POST \/[^]*GENERATION +answer/);
});

test("the README's Worker that flushes by hand delivers after its response", async (t) => {
  const { call, trees } = await startSnippet(t, README, (code) => code.includes("ctx.waitUntil(langfuse.flush())"));
  assert.equal(await call(), "Hello!");
  await trees(/GENERATION +answer +1 → 2 tokens +gpt-4o/);
});

test("the Worker that does nothing but record delivers", async (t) => {
  const { call, trees } = await startSnippet(t, WORKERS, (code) => code.includes("langfuse ??="));
  assert.equal(await call({ method: "POST", body: "Why?" }), "Because of Rayleigh scattering.");
  await trees(/GENERATION +answer/);
});

test("the Worker with withLangfuse of docs/workers.md delivers", async (t) => {
  const { call, trees } = await startSnippet(t, WORKERS, (code) => code.includes("summarize"));
  assert.equal(await call({ method: "POST", body: "A text" }), "A text");
  await trees(/SPAN +POST \/[^]*GENERATION +summarize/);
});

test("the Worker that has come from version 3 delivers what it did", async (t) => {
  const { call, trees } = await startSnippet(t, MIGRATING, () => true);
  assert.equal(await call(), "Hello!");
  await trees(/SPAN +chat\n└─ GENERATION +answer +1 → 2 tokens +gpt-4o\nSCORE +quality +1/);
});

for (const [what, document, isMeant, printed, expected] of [
  ["LlamaIndex workflow of docs/llamaindex.md", LLAMAINDEX, (code) => code.includes("createWorkflow"), /^Hello, Ada!$/, /SPAN +hello[^]*SPAN +greet[^]*GENERATION +llm\.chat[^]*SPAN +check/],
  ["README's object whose methods are steps", README, (code) => code.includes("workflowSteps"), /^\{[^]*enabled: true/, /SPAN +run[^]*SPAN +triage[^]*EVENT +triage begins[^]*SPAN +reply/],
]) {
  test(`the ${what} runs and delivers`, async (t) => {
    const receiver = await receiverFor(t);
    const { publicKey, secretKey, baseUrl } = receiver.options;
    const { code } = await transform(document.snippets.find(isMeant), { loader: "ts", format: "esm" });
    const environment = { LANGFUSE_PUBLIC_KEY: publicKey, LANGFUSE_SECRET_KEY: secretKey, LANGFUSE_BASE_URL: baseUrl };
    const { code: exit, output } = await startScript(t, code, environment).done;
    assert.equal(exit, 0, output);
    assert.match(output, printed);
    assert.match(await receiver.trees(), expected);
  });
}

/** Starts the Worker of the first snippet that `isMeant` picks, and a receiver for it. */
async function startSnippet(t, { snippets }, isMeant) {
  const receiver = await receiverFor(t);
  const folder = await folderWithPackages(t);
  const entry = join(folder, "worker.mts");
  await writeFile(entry, snippets.find(isMeant));
  const { publicKey, secretKey, baseUrl } = receiver.options;
  const bindings = { LANGFUSE_PUBLIC_KEY: publicKey, LANGFUSE_SECRET_KEY: secretKey, LANGFUSE_BASE_URL: baseUrl };
  const modules = await bundle(pathToFileURL(entry));
  const compatibility = { compatibilityDate: "2026-04-01", compatibilityFlags: ["nodejs_compat"] };
  const worker = await workersFor(t, compatibility, [{ name: "document", modules, bindings }]);
  return {
    call: async (init) => (await fetch(worker.url, init)).text(),
    /** Until these have arrived. */
    trees: (expected) => until(async () => expected.test(await receiver.trees())),
  };
}

/** A user's folder, with what this repository has installed. */
async function folderWithPackages(t) {
  const folder = await mkdtemp(join(tmpdir(), "langfuse-edge-readme-"));
  t.after(() => rm(folder, { recursive: true }));
  await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"));
  return folder;
}
