// The Worker of this example, bundled with esbuild and run in workerd through miniflare.
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";
import { Headers, Log, LogLevel, Miniflare } from "miniflare";

const HERE = dirname(fileURLToPath(import.meta.url));
const ENTRY = join(HERE, "../src/index.ts");

/** @returns {Promise<{ modules: object[] }>} what miniflare takes */
export async function bundleWorker() {
  const { outputFiles } = await build({
    entryPoints: [ENTRY],
    bundle: true,
    write: false,
    outdir: HERE,
    format: "esm",
    target: "es2022",
    conditions: ["workerd", "worker"],
    external: ["cloudflare:*", "node:*"],
    loader: { ".wasm": "copy" },
    logLevel: "silent",
  });
  const modules = outputFiles.map(({ path, contents }) =>
    path.endsWith(".wasm")
      ? { type: "CompiledWasm", path: basename(path), contents }
      : { type: "ESModule", path: basename(path), contents },
  );
  // The first module is the entry.
  return { modules: modules.sort((a, b) => Number(b.type === "ESModule") - Number(a.type === "ESModule")) };
}

export class WorkerHost {
  #miniflare;
  #url;

  constructor(miniflare, url) {
    this.#miniflare = miniflare;
    this.#url = url;
  }

  /**
   * @param {{ modules: object[] }} bundle
   * @param {Record<string, string>} bindings variables and secrets of the Worker
   * @param {(entry: { level: string, message: string }) => void} onLog lines the Worker writes
   */
  static async start(bundle, bindings, onLog) {
    const miniflare = new Miniflare({
      ...bundle,
      modulesRoot: ".",
      bindings,
      compatibilityDate: "2026-04-01",
      compatibilityFlags: ["nodejs_compat"],
      unsafeTriggerHandlers: true,
      cf: false,
      log: new Log(LogLevel.NONE),
      handleStructuredLogs: onLog,
    });
    try {
      return new WorkerHost(miniflare, await miniflare.ready);
    } catch (error) {
      await miniflare.dispose().catch(() => {});
      throw error;
    }
  }

  /** Sends a raw message to the Worker's `email` handler. Resolves when the handler is done. */
  async deliver(raw, from, to, signal) {
    const url = new URL("/cdn-cgi/handler/email", this.#url);
    url.search = new URLSearchParams({ from, to }).toString();
    const response = await fetch(url, { method: "POST", body: raw, signal });
    const text = await response.text();
    if (response.ok || text.startsWith("Worker rejected")) return;
    if (!/^(Email could not be parsed|Invalid email)/.test(text)) throw new Error(text.split("\n")[0]);
    // The trigger refuses what is empty or has no Message-ID. A mail server need not: the Worker has to cope on its own.
    const worker = await this.#miniflare.getWorker();
    await worker.email({ from, to, raw: new Blob([raw]).stream(), rawSize: raw.length, headers: new Headers() });
  }

  /** The Worker's own flush report. */
  async flush(signal) {
    const response = await fetch(new URL("/flush", this.#url), { signal });
    if (!response.ok) throw new Error(`GET /flush answered ${response.status}: ${await response.text()}`);
    return response.json();
  }

  async stop() {
    await this.#miniflare.dispose();
  }
}
