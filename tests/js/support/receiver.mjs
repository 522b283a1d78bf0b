// The receiver, `langfuse-edge dev`: a server that takes what Langfuse takes, and tells what it got.
import assert from "node:assert/strict";
import { join } from "node:path";

import { ROOT, start } from "./program.mjs";

export const BIN = process.env.LANGFUSE_EDGE_BIN ?? join(ROOT, "target/debug/langfuse-edge");
// Our CI has it, and would be the release of everything.
delete process.env.GITHUB_SHA;

export const KEYS = { publicKey: "pk-lf-dev", secretKey: "sk-lf-dev" };
/** The environment of a program that sends to such a URL. */
export const variablesFor = (url) => ({ LANGFUSE_PUBLIC_KEY: KEYS.publicKey, LANGFUSE_SECRET_KEY: KEYS.secretKey, LANGFUSE_BASE_URL: url });

/** Starts one on a free port; `stop` resolves with its exit code. */
export async function startReceiver(flags = []) {
  const program = start(BIN, ["dev", "--port", "0", ...flags]);
  const [, url] = await program.line(/^langfuse-edge dev listening on (http:\S+)$/);
  const stop = async (signal = "SIGTERM") => {
    program.kill(signal);
    return (await program.done).code;
  };
  const get = async (path) => fetch(`${url}/dev/${path}`);
  const json = async (path) => (await get(path)).json();
  const post = async (path, body) => {
    const response = await fetch(`${url}/dev/${path}`, { method: "POST", body: JSON.stringify(body) });
    return { status: response.status, body: await response.json() };
  };
  return {
    ...program,
    url,
    stop,
    post,
    /** What a client needs to send here, when it is told to: what it sends by itself is for lifecycle.test.mjs. */
    options: { ...KEYS, baseUrl: url, flushAt: 1_000_000, flushInterval: 0 },
    state: () => json("state"),
    rows: () => json("rows"),
    requests: () => json("requests"),
    scores: () => json("scores"),
    trees: async () => (await get("trees?format=text&normalized=true")).text(),
    /** Replaces the fault; `{}` is none. */
    fault: async (fault) => assert.deepEqual(await post("faults", fault), { status: 200, body: {} }),
    reset: () => post("reset", {}),
  };
}

/** Starts one that is ended with the test. */
export async function receiverFor(t, flags) {
  const receiver = await startReceiver(flags);
  t.after(() => receiver.stop("SIGKILL"));
  return receiver;
}
