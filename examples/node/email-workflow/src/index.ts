// The workflow of the email Worker, in Node.js. See the README.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { flushLangfuse, runWorkflowWithFlush } from "langfuse-edge";

import { summary } from "../../../cloudflare-worker/src/summary";
import { handleEmail } from "../../../cloudflare-worker/src/workflow";

const files = process.argv.slice(2);
if (files.length === 0) {
  console.error("usage: npm start -- MESSAGE.eml…");
  process.exit(2);
}

const { OUTBOX } = process.env;
const callback = (step: string, what: string) => console.log(`        ${step}: ${what}`);

for (const [index, file] of files.entries()) {
  console.log(`[${String(index + 1).padStart(2)}/${files.length}] ${basename(file)}`);
  const raw = await readFile(file);
  const message = {
    from: "bounce@example.org",
    to: "support@example.com",
    raw,
    rawSize: raw.length,
    async reply(_: string, text: string) {
      if (!OUTBOX) return;
      await mkdir(OUTBOX, { recursive: true });
      await writeFile(join(OUTBOX, `re-${basename(file)}`), text);
    },
  };
  try {
    console.log(`        ${summary(await runWorkflowWithFlush(handleEmail, message, process.env, callback))}`);
  } catch (error) {
    console.log(`        not answered: ${(error as Error).message}`);
  }
}

// Every workflow has flushed already: this report says whether anything was left behind.
const { retained, ok } = await flushLangfuse();
console.log(`retained: ${retained}, ok: ${ok}`);
if (!ok) process.exitCode = 1;
