// Clients in workerd: a Worker that imports one, constructs it in its first request, and records what it is asked to.
import { readFile, readdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";
import { Log, LogLevel, Miniflare } from "miniflare";

import { CLIENTS } from "../clients.mjs";

const FOLDER = fileURLToPath(new URL("..", import.meta.url));
const COMPATIBILITY = { compatibilityDate: "2026-04-01", compatibilityFlags: ["nodejs_compat"] };

const worker = (module) => `
import { start } from "./clients/${module}.mjs";
import { payload } from "./payload.mjs";
let client;
export default {
  async fetch(request) {
    const { target, bytes, traces } = await request.json();
    client ??= start(target);
    const values = payload(bytes);
    for (let done = 0; done < traces; done++) client.trace(values);
    if (traces) await client.flush()?.catch?.(() => {});
    return new Response("ok");
  },
};`;

/** The modules of a client's Worker, bundled as wrangler does. */
export async function bundled(client) {
  const { outputFiles } = await build({
    stdin: { contents: worker(CLIENTS[client].module), resolveDir: FOLDER },
    bundle: true,
    write: false,
    minify: true,
    outdir: FOLDER,
    format: "esm",
    target: "es2022",
    conditions: ["workerd", "worker", "browser"],
    define: { "process.env.NODE_ENV": '"production"' },
    external: ["cloudflare:*", "node:*"],
    loader: { ".wasm": "copy" },
    logLevel: "silent",
  });
  const modules = outputFiles.map(({ path, contents }) => ({
    type: path.endsWith(".wasm") ? "CompiledWasm" : "ESModule",
    path: path.slice(FOLDER.length),
    contents,
  }));
  // The first module is the entry.
  return modules.toSorted((a, b) => Number(b.type === "ESModule") - Number(a.type === "ESModule"));
}

/** `ask` has the Worker record and flush; `cpuMicros` is what its workerd has used, all threads and the kernel's share included. */
export async function withWorker(modules, work) {
  const known = await workerds();
  const miniflare = new Miniflare({ modulesRoot: ".", modules, ...COMPATIBILITY, cf: false, log: new Log(LogLevel.NONE) });
  try {
    const url = await miniflare.ready;
    const pid = (await workerds()).find((pid) => !known.includes(pid));
    const ask = async (what) => {
      const response = await fetch(url, { method: "POST", body: JSON.stringify(what) });
      const text = await response.text();
      if (text !== "ok") throw new Error(text.slice(0, 500));
    };
    return await work({ ask, cpuMicros: () => cpuMicros(pid) });
  } finally {
    await miniflare.dispose();
  }
}

/** Until a workerd that starts now, with nothing but this Worker, has answered the first request, in which the client is made. */
export async function coldStart(modules, target) {
  return withWorker(modules, async ({ ask, cpuMicros }) => {
    await ask({ target, bytes: 200, traces: 0 });
    return (await cpuMicros()) / 1000;
  });
}

/** Those that this process has started. */
async function workerds() {
  const children = await readFile(`/proc/self/task/${process.pid}/children`, "utf8");
  const found = [];
  for (const pid of children.trim().split(" ").filter(Boolean)) {
    if ((await readFile(`/proc/${pid}/comm`, "utf8").catch(() => "")).startsWith("workerd")) found.push(pid);
  }
  return found;
}

async function cpuMicros(pid) {
  let nanos = 0;
  for (const task of await readdir(`/proc/${pid}/task`)) {
    nanos += Number((await readFile(`/proc/${pid}/task/${task}/schedstat`, "utf8")).split(" ")[0]);
  }
  return nanos / 1000;
}

