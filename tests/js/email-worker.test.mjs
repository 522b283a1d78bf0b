// The email Worker in workerd against the receiver, run as a user runs it: through demo.mjs.
import assert from "node:assert/strict";
import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { ROOT, start } from "./support/program.mjs";
import { KEYS, receiverFor } from "./support/receiver.mjs";

const DEMO = join(ROOT, "examples/cloudflare-worker/demo.mjs");
const EMAILS = join(ROOT, "examples/emails");
const MESSAGES = (await readdir(EMAILS)).filter((name) => name.endsWith(".eml")).length;

function startDemo(t, receiver, args = [], env = {}) {
  const keys = ["--public-key", KEYS.publicKey, "--secret-key", KEYS.secretKey];
  const demo = start(process.execPath, [DEMO, "--receiver", receiver.url, ...keys, ...args], env);
  t.after(() => demo.kill("SIGKILL"));
  return demo;
}

const progress = (output) => output.split("\n").filter((line) => /^\[ *\d+\/\d+\]/.test(line));
const observations = (text) => text.split("\n").filter((line) => /^\W*[A-Z]+ /.test(line)).length;

test("every observation of every message arrives once, in the expected trees", async (t) => {
  const receiver = await receiverFor(t);
  const { code, output } = await startDemo(t, receiver).done;
  assert.equal(code, 0, output);
  assert.equal(progress(output).length, MESSAGES);
  const expected = observations(await readFile(join(EMAILS, "expected-trees.txt"), "utf8"));
  assert.match(
    output,
    new RegExp(`${MESSAGES} of ${MESSAGES} messages, ${expected} observations expected, ${expected} received, 0 duplicates, \\d+ requests$`),
  );
});

test("a trace can be watched step by step: what has ended has arrived before the Worker asks its model for more", async (t) => {
  const { output } = await startDemo(t, await receiverFor(t)).done;
  const lines = [...output.matchAll(/^ +already there when the Worker asks for (\w+): (.*)$/gm)].map(([, name, there]) => [name, there.split(", ").toSorted()]);
  assert.deepEqual(
    lines,
    [
      ["plan", ["classify", "triage_email"]],
      ["write_reply", ["lookup_order", "plan"]],
      ["verify", ["execute_plan", "write_reply"]],
    ],
    output,
  );
});

test("an observation that is missing from the expectation makes the demo fail and show the line", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "langfuse-edge-"));
  t.after(() => rm(directory, { recursive: true }));
  await copyFile(join(EMAILS, "08-unknown-order.eml"), join(directory, "08-unknown-order.eml"));
  const wrong = join(directory, "expected-trees.txt");
  const recorded = await startDemo(t, await receiverFor(t), ["--emails", directory, "--update-expected"]).done;
  assert.equal(recorded.code, 0, recorded.output);
  const text = await readFile(wrong, "utf8");
  const lines = text.split("\n");
  const failed = lines.findIndex((line) => line.includes("lookup_order"));
  await writeFile(wrong, lines.toSpliced(failed, 1).join("\n"));

  const { code, output } = await startDemo(t, await receiverFor(t), ["--emails", directory]).done;
  assert.equal(code, 1, output);
  assert.ok(output.includes(`+ ${lines[failed]}`), output);
});

test("an LLM endpoint that answers 500 costs one message its answer and shows as an ERROR generation", async (t) => {
  const receiver = await receiverFor(t);
  const { code, output } = await startDemo(t, receiver, ["--llm-fail", "Refund for order"]).done;
  assert.equal(code, 1, output);
  const failed = progress(output).filter((line) => /classify: the LLM endpoint answered 500/.test(line));
  assert.equal(failed.length, 1, output);
  assert.match(failed[0], /02-html-only\.eml/);
  assert.equal(progress(output).filter((line) => /replied|holding reply|not answered/.test(line)).length, MESSAGES - 2);

  const expected = (await readFile(join(EMAILS, "expected-trees.txt"), "utf8")).split("\n\n");
  const received = (await receiver.trees()).split("\n\n");
  const changed = received.filter((tree) => !expected.includes(tree));
  assert.equal(changed.length, 1, output);
  assert.match(changed[0], /GENERATION +classify +ERROR/);
  assert.equal(observations(changed[0]), 3);
});

test("without an OpenAI key each message gets one clear line and its trace says why", async (t) => {
  const receiver = await receiverFor(t);
  const { output } = await startDemo(t, receiver, ["--no-openai-key"]).done;
  assert.equal(progress(output).filter((line) => /OPENAI_API_KEY is not set/.test(line)).length, MESSAGES - 1, output);
  assert.equal((await receiver.trees()).match(/GENERATION +classify +ERROR/g)?.length, MESSAGES - 1);
});

test("without Langfuse keys the mail is answered all the same, with one warning", async (t) => {
  const receiver = await receiverFor(t);
  const { output } = await startDemo(t, receiver, ["--no-langfuse-key"]).done;
  assert.equal(progress(output).filter((line) => /replied|holding reply|not answered/.test(line)).length, MESSAGES - 1, output);
  assert.equal(output.match(/^ *warning: .*LANGFUSE_PUBLIC_KEY/gm)?.length, 1, output);
  assert.match(output, /\b0 received\b/);
});

test("a receiver that dies after the third message costs one flush deadline, and the retained observations are counted", async (t) => {
  const receiver = await receiverFor(t);
  const demo = startDemo(t, receiver, [], { FLUSH_TIMEOUT_MS: "2000" });
  await demo.line(/^\[ 3\//);
  receiver.kill("SIGKILL");
  const killed = performance.now();
  const { code, output } = await demo.done;
  const seconds = (performance.now() - killed) / 1000;
  assert.equal(code, 1, output);
  const [, retained] = /the receiver is gone: (\d+) observations retained/.exec(output) ?? assert.fail(output);
  assert.ok(Number(retained) > 0, output);
  assert.ok(seconds < 30, `took ${seconds.toFixed(1)} s:\n${output}`);
});

test("what is not mail is named in one line, and the messages after it are answered", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "langfuse-edge-"));
  t.after(() => rm(directory, { recursive: true }));
  await writeFile(join(directory, "1-empty.eml"), "");
  await copyFile(join(EMAILS, "not-mail.eml"), join(directory, "2-binary.eml"));
  await writeFile(join(directory, "3-no-from.eml"), "Subject: hello\r\n\r\nWho am I?\r\n");
  await writeFile(
    join(directory, "4-nothing-in-it.eml"),
    "From: a@example.org\r\nTo: support@example.com\r\nMessage-ID: <4@example.org>\r\n\r\n",
  );
  await copyFile(join(EMAILS, "01-plain-text.eml"), join(directory, "5-plain.eml"));

  const receiver = await receiverFor(t);
  const { code, output } = await startDemo(t, receiver, ["--emails", directory, "--update-expected"]).done;
  assert.equal(code, 0, output);
  const [empty, binary, noFrom, nothing, plain] = progress(output);
  assert.match(empty, /rejected: the message is empty/);
  assert.match(binary, /rejected: .*no From header/);
  assert.match(noFrom, /rejected: .*no From header/);
  assert.match(nothing, /rejected: .*neither text nor attachments/);
  assert.match(plain, /order_status, 1 tool step, replied/);
  assert.equal((await receiver.trees()).match(/^AGENT +handle_email +ERROR/gm)?.length, 4);
});
