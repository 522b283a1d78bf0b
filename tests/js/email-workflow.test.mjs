// The email Worker's workflow in Node.js: its modules as they are, and the same traces.
import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, test } from "node:test";

import { build } from "esbuild";

import { startLlmEndpoint } from "../../examples/cloudflare-worker/llm-endpoint.mjs";
import { ROOT, start } from "./support/program.mjs";
import { KEYS, receiverFor } from "./support/receiver.mjs";

const EXAMPLE = join(ROOT, "examples/node/email-workflow");
const EMAILS = join(ROOT, "examples/emails");
const MESSAGES = (await readdir(EMAILS)).filter((name) => name.endsWith(".eml")).toSorted();

// As its package.json says.
before(() =>
  build({
    entryPoints: [join(EXAMPLE, "src/index.ts")],
    bundle: true,
    packages: "external",
    platform: "node",
    format: "esm",
    target: "node20",
    outfile: join(EXAMPLE, "dist/index.mjs"),
    logLevel: "silent",
  }),
);

async function answer(t, messages, env) {
  const llm = await startLlmEndpoint();
  t.after(() => llm.close());
  const program = start(process.execPath, [join(EXAMPLE, "dist/index.mjs"), ...messages.map((name) => join(EMAILS, name))], {
    OPENAI_API_KEY: "scripted",
    OPENAI_BASE_URL: llm.url,
    LANGFUSE_PUBLIC_KEY: KEYS.publicKey,
    LANGFUSE_SECRET_KEY: KEYS.secretKey,
    ...env,
  });
  t.after(() => program.kill("SIGKILL"));
  return program.done;
}

test("all messages give the traces that they give in workerd and in Rust", async (t) => {
  const receiver = await receiverFor(t);
  const { code, output } = await answer(t, MESSAGES, { LANGFUSE_BASE_URL: receiver.url });
  assert.equal(code, 0, output);
  assert.equal(await receiver.trees(), await readFile(join(EMAILS, "expected-trees.txt"), "utf8"));
  assert.equal((await receiver.state()).duplicates, 0);
  const said = output.split("\n");
  assert.equal(said.filter((line) => /^\[ ?\d+\/12\] /.test(line)).length, MESSAGES.length);
  assert.ok(said.includes("        execute_plan: lookup_order: there is no order 9999"), output);
  assert.equal(said.at(-1), "retained: 0, ok: true");
});

test("replies are written into the outbox, also without Langfuse", async (t) => {
  const outbox = await mkdtemp(join(tmpdir(), "langfuse-edge-"));
  t.after(() => rm(outbox, { recursive: true }));
  const { code, output } = await answer(t, ["01-plain-text.eml", "11-auto-reply.eml"], { OUTBOX: outbox, LANGFUSE_PUBLIC_KEY: "" });
  assert.equal(code, 0, output);
  assert.deepEqual(await readdir(outbox), ["re-01-plain-text.eml"]);
  const reply = await readFile(join(outbox, "re-01-plain-text.eml"), "utf8");
  assert.match(reply, /^To: ada@example\.org\r\nSubject: Re: Where is my order 1042\?\r$/m);
  assert.match(reply, /^In-Reply-To: <01-ada@example\.org>\r$/m);
});
