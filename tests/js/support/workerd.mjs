// Workers in the real runtime, workerd, through miniflare.
import { basename, dirname } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";
import { Log, LogLevel, Miniflare } from "miniflare";

/** Bundles a Worker as wrangler does. `external` modules are left to `workersFor`; `define` is wrangler's setting of that name. */
export async function bundle(url, external = [], define = {}) {
  const entry = fileURLToPath(url);
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    outdir: dirname(entry),
    format: "esm",
    target: "es2022",
    conditions: ["workerd", "worker"],
    external: ["cloudflare:*", "node:*", ...external],
    loader: { ".wasm": "copy" },
    define,
    logLevel: "silent",
  });
  const modules = outputFiles.map(({ path, contents }) => ({
    type: path.endsWith(".wasm") ? "CompiledWasm" : "ESModule",
    path: basename(path),
    contents,
  }));
  // The first module is the entry.
  return modules.toSorted((a, b) => Number(b.type === "ESModule") - Number(a.type === "ESModule"));
}

/**
 * Starts Workers, each in an isolate of its own, in one workerd that ends with the test. The first one gets the
 * requests. `lines` grows with what workerd prints.
 */
export async function workersFor(t, compatibility, workers) {
  const lines = [];
  const miniflare = new Miniflare({
    workers: workers.map((worker) => ({ modulesRoot: ".", ...compatibility, ...worker })),
    cf: false,
    // The way in for emails.
    unsafeTriggerHandlers: true,
    // Without it workerd keeps to itself what went wrong in a request.
    verbose: true,
    log: new Log(LogLevel.NONE),
    handleRuntimeStdio: (...streams) => {
      for (const input of streams) createInterface({ input }).on("line", (line) => lines.push(line));
    },
  });
  // Of Workers that did not start it fails as they did.
  t.after(() => miniflare.dispose().catch(() => {}));
  return { url: await miniflare.ready, lines, miniflare };
}

/**
 * Whether workerd says that a request waited for something that cannot happen, used what belongs to another, or left
 * an error uncaught. It calls a lost connection and `process.exit()` uncaught whoever catches them.
 */
export const isComplaint = (line) =>
  /hung|different request|uncaught|illegal invocation|disallowed operation/i.test(line) &&
  !/Network connection lost\.|process\.exit\(0\) API was called/.test(line);
