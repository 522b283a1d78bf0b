// What the documents tell their readers to write compiles, and the Workers in them deliver.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { access, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, posix } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";

import { transform } from "esbuild";

import { ROOT, startScript } from "./support/program.mjs";
import { receiverFor, variablesFor } from "./support/receiver.mjs";
import { until } from "./support/until.mjs";
import { bundle, workersFor } from "./support/workerd.mjs";

const DOCUMENTS = new Map(
  await Promise.all(
    ["README.md", ...(await readdir(join(ROOT, "docs"))).filter((name) => name.endsWith(".md")).map((name) => `docs/${name}`)].map(
      async (name) => [name, await readFile(join(ROOT, name), "utf8")],
    ),
  ),
);

const snippetsOf = (text) => [...text.matchAll(/^```ts\n(.*?)^```/gms)].map(([, code]) => code);

for (const [document, text] of DOCUMENTS) {
  const snippets = snippetsOf(text);
  if (snippets.length === 0) continue;
  test(`every TypeScript snippet of ${document} compiles as a strict user compiles it`, async (t) => {
    const folder = await folderWithPackages(t);
    const files = snippets.map((_, index) => `snippet-${index}.mts`);
    await Promise.all(snippets.map((code, index) => writeFile(join(folder, files[index]), code)));
    const types = text.includes('from "node:') ? "node" : "";
    const options = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "--lib", "es2022,dom", "--types", types];
    // The types of LlamaIndex name packages that it does not bring.
    if (document === "docs/llamaindex.md") options.push("--skipLibCheck");
    const tsc = join(ROOT, "node_modules/.bin/tsc");
    await promisify(execFile)(tsc, [...options, ...files], { cwd: folder }).catch(({ stdout }) => assert.fail(stdout));
  });
}

test("what the documents link to is there", async () => {
  const anchors = (text) =>
    [...text.matchAll(/^#+ (.*)$/gm)].map(([, title]) => title.toLowerCase().replaceAll(/[^\w\- ]/g, "").replaceAll(" ", "-"));
  for (const [document, text] of DOCUMENTS) {
    const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link).filter((link) => !/^https?:/.test(link));
    for (const link of links) {
      const [path, anchor] = link.split("#");
      const target = path === "" ? document : posix.join(posix.dirname(document), path);
      await access(join(ROOT, target)).catch(() => assert.fail(`${document} links to ${link}`));
      if (anchor) assert.ok(anchors(DOCUMENTS.get(target) ?? "").includes(anchor), `${document} links to ${link}`);
    }
  }
});

test("the README's first Worker is traced and delivers by itself", async (t) => {
  const { call, trees } = await startSnippet(t, "README.md", (code) => code.includes("await request.text()"));
  assert.equal(await call({ method: "POST", body: "Why?" }), "An answer to: Why?");
  await trees(/SPAN +POST \/[^]*GENERATION +answer/);
});

test("the README's Worker that flushes by hand delivers after its response", async (t) => {
  const { call, trees } = await startSnippet(t, "README.md", (code) => code.includes("ctx.waitUntil(langfuse.flush())"));
  assert.equal(await call(), "Hello!");
  await trees(/GENERATION +answer +1 → 2 tokens +gpt-4o/);
});

test("the Worker that does nothing but record delivers", async (t) => {
  const { call, trees } = await startSnippet(t, "docs/workers.md", (code) => code.includes("langfuse ??="));
  assert.equal(await call({ method: "POST", body: "Why?" }), "Because of Rayleigh scattering.");
  await trees(/GENERATION +answer/);
});

test("the Worker with withLangfuse of docs/workers.md delivers", async (t) => {
  const { call, trees } = await startSnippet(t, "docs/workers.md", (code) => code.includes("summarize"));
  assert.equal(await call({ method: "POST", body: "A text" }), "A text");
  await trees(/SPAN +POST \/[^]*GENERATION +summarize/);
});

test("the Worker that has come from version 3 delivers what it did", async (t) => {
  const { call, trees } = await startSnippet(t, "docs/migrating-from-v3.md", () => true);
  assert.equal(await call(), "Hello!");
  await trees(/SPAN +chat\n└─ GENERATION +answer +1 → 2 tokens +gpt-4o\nSCORE +quality +1/);
});

for (const [what, document, isMeant, printed, expected] of [
  ["README's workflow", "README.md", "answer_mail", /^A reply about billing$/m, /SPAN +answer_mail[^]*SPAN +triage[^]*SPAN +reply/],
  ["script of docs/quick-starts.md", "docs/quick-starts.md", "flushLangfuse", /^An answer to: Why/, /SPAN +script[^]*GENERATION +answer/],
  ["script of docs/usage.md", "docs/usage.md", "sunny", /^delivered: 3, ok: true$/m, /SPAN +report[^]*GENERATION +write +12 → 6 tokens/],
  ["wrapper of docs/usage.md", "docs/usage.md", "class Greeting", /^Hello, Ada!$/m, /SPAN +greet/],
  ["workflows of docs/usage.md", "docs/usage.md", "Promise.all", /^\[ 'invoice', 'question', 'invoice' \]$/m, /(SPAN +sort_mail[^]*){3}/],
  ["object whose methods are steps of docs/workflows.md", "docs/workflows.md", "workflowSteps", /^\{[^]*enabled: true/, /SPAN +run[^]*SPAN +triage[^]*EVENT +triage begins[^]*SPAN +reply/],
  ["workflow of docs/workflows.md", "docs/workflows.md", "answer_mail", /^$/, /SPAN +answer_mail[^]*SPAN +reply[^]*GENERATION +write/],
  ["end of a program of docs/migrating.md", "docs/migrating.md", "runWorkflowWithFlush(main)", /^$/, /^$/],
  ["observations of docs/recording.md", "docs/recording.md", "Rayleigh scattering", /^$/, /AGENT +request[^]*GENERATION +answer +512 → 128 tokens +gpt-4o/],
  ["functions of docs/recording.md", "docs/recording.md", "invoices", /^$/, /SPAN +chat[^]*RETRIEVER +search/],
  ["call of a model of docs/recording.md", "docs/recording.md", "LlmCallbackHandler", /^$/, /GENERATION +answer +9 → 3 tokens +gpt-4o/],
  ["log of docs/recording.md", "docs/recording.md", "captureConsole", /^row 7 has no date$/m, /SPAN +import[^]*EVENT +import begins[^]*EVENT +row 7 has no date +WARNING/],
  ["scores of docs/recording.md", "docs/recording.md", "satisfaction", /^$/, /GENERATION +answer[^]*SCORE +helpful/],
  ["report of docs/best-practices.md", "docs/best-practices.md", "dropReasons", /^$/, /^$/],
  ["LlamaIndex workflow of docs/llamaindex.md", "docs/llamaindex.md", "createWorkflow", /^Hello, Ada!$/m, /SPAN +hello[^]*SPAN +greet[^]*GENERATION +llm\.chat[^]*SPAN +check/],
]) {
  test(`the ${what} runs and delivers`, async (t) => {
    const { code, environment, receiver } = await program(t, document, isMeant);
    const { code: exit, output } = await startScript(t, code, environment).done;
    assert.equal(exit, 0, output);
    assert.match(output.trim(), printed);
    assert.match((await receiver.trees()).trim(), expected);
  });
}

test("the server of docs/usage.md answers, and has delivered when SIGTERM has ended it", async (t) => {
  const { code, environment, receiver } = await program(t, "docs/usage.md", "createServer");
  const server = startScript(t, code.replace("8080", "0") + '\nserver.on("listening", () => console.log(`port ${server.address().port}`));', environment);
  const [, port] = await server.line(/^port (\d+)$/);
  assert.equal(await (await fetch(`http://127.0.0.1:${port}/greeting`)).text(), "Hello!");
  server.kill("SIGTERM");
  const { code: exit, output } = await server.done;
  assert.equal(exit, 0, output);
  assert.match(output, /^delivered: 1, retained: 0$/m);
  assert.match(await receiver.trees(), /SPAN +GET \/greeting/);
});

/** The first snippet of a document with these words, as JavaScript, and what it needs. */
async function program(t, document, words) {
  const receiver = await receiverFor(t);
  const snippet = snippetsOf(DOCUMENTS.get(document)).find((code) => code.includes(words));
  const { code } = await transform(snippet, { loader: "ts", format: "esm" });
  const environment = variablesFor(receiver.url);
  return { code, environment, receiver };
}

/** Starts the Worker of the first snippet that `isMeant` picks, and a receiver for it. */
async function startSnippet(t, document, isMeant) {
  const receiver = await receiverFor(t);
  const folder = await folderWithPackages(t);
  const entry = join(folder, "worker.mts");
  await writeFile(entry, snippetsOf(DOCUMENTS.get(document)).find(isMeant));
  const bindings = variablesFor(receiver.url);
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
