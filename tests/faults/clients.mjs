// The three clients, each behind the same two functions: `call` does one command, `stop` says what the client left
// behind or complained about.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { supportedCompatibilityDate as compatibilityDate } from "miniflare";

import { ROOT } from "../js/support/program.mjs";
import { bundle, isComplaint, workersFor } from "../js/support/workerd.mjs";

const NATIVE = process.env.LANGFUSE_EDGE_FAULTS_CLIENT ?? join(ROOT, "target/debug/examples/faults-client");
const IN_NODE = fileURLToPath(new URL("node-client.mjs", import.meta.url));

export const CLIENTS = {
  native: (options) => startProcess(NATIVE, [JSON.stringify(options)]),
  node: (options) => startProcess(process.execPath, [IN_NODE, JSON.stringify(options)]),
  workerd: startWorker,
};

async function startProcess(command, args) {
  const child = spawn(command, args, { cwd: ROOT, stdio: ["pipe", "pipe", "pipe"] });
  const waiting = new Map();
  const errors = [];
  const ended = once(child, "close").then(
    ([code]) => code,
    ({ message }) => message,
  );
  ended.then((code) => {
    for (const { reject } of waiting.values()) reject(new Error(`the client ended with ${code}: ${errors.join(" ")}`));
  });
  // That there is nobody to write to is what `ended` says.
  child.stdin.on("error", () => {});
  createInterface({ input: child.stderr }).on("line", (line) => errors.push(line));
  createInterface({ input: child.stdout }).on("line", (line) => {
    const { n, answer } = JSON.parse(line);
    waiting.get(n).resolve(answer);
    waiting.delete(n);
  });
  let last = 0;
  const call = (command) =>
    new Promise((resolve, reject) => {
      waiting.set(++last, { resolve, reject });
      child.stdin.write(`${JSON.stringify({ n: last, command })}\n`);
    });
  const stop = async () => {
    child.stdin.end();
    const late = setTimeout(() => {
      errors.push("it did not end by itself");
      child.kill("SIGKILL");
    }, 2000);
    const code = await ended;
    clearTimeout(late);
    return code === 0 ? errors : [...errors, `exit code ${code}`];
  };
  await call({});
  return { call, stop };
}

let bundles;

async function startWorker(options, { compatibilityFlags = [], stateUrl }) {
  bundles ??= Promise.all([
    bundle(new URL("../js/workerd/gateway.mjs", import.meta.url)),
    bundle(new URL("worker.mjs", import.meta.url), ["./options.mjs"]),
  ]);
  const [gateway, worker] = await bundles;
  const cleanups = [];
  const own = { type: "ESModule", path: "options.mjs", contents: `export default ${JSON.stringify(options)}` };
  const { url, lines } = await workersFor({ after: (cleanup) => cleanups.push(cleanup) }, { compatibilityDate, compatibilityFlags }, [
    { name: "gateway", modules: gateway, serviceBindings: { worker: "worker" } },
    { name: "worker", modules: [...worker, own] },
  ]);
  const get = async (command, query) => {
    const search = new URLSearchParams({ command: JSON.stringify(command), ...query });
    const response = await fetch(new URL(`worker/?${search}`, url));
    const text = await response.text();
    if (!response.ok) throw new Error(`the request failed: ${text.slice(0, 200)}`);
    return text;
  };
  const call = async (command) => JSON.parse(await get(command));
  /** Leaves the request alone as soon as the server has got what it sent. */
  const cancel = (command) => get(command, { cancelWhen: stateUrl });
  /** Leaves after some parts of an answer without end. */
  const leave = () => get({}, { leaveAfter: 3 });
  const stop = async () => {
    for (const cleanup of cleanups) await cleanup();
    return lines.filter(isComplaint);
  };
  await call({});
  return { call, cancel, leave, stop };
}
