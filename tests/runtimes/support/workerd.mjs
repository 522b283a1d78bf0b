// One Worker in workerd, asked once.
import { spawn } from "node:child_process";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { load } from "./tools.mjs";

const workerd = load("workerd");
/** The newest date that this workerd knows. */
export const NEWEST = workerd.compatibilityDate;

const TIMEOUT_MS = 30_000;
const EVENTS = 3;

/** What the Worker at `folder`, a module `main` and the wasm that it imports, answers. */
export async function askWorker(folder, main, { compatibilityDate, compatibilityFlags = [] }) {
  const wasm = (await readdir(folder)).filter((name) => name.endsWith(".wasm"));
  const modules = [`(name = "${main}", esModule = embed "${main}")`, ...wasm.map((name) => `(name = "${name}", wasm = embed "${name}")`)];
  await writeFile(
    join(folder, "workerd.capnp"),
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "worker", worker = (
      modules = [${modules.join(", ")}],
      compatibilityDate = "${compatibilityDate}",
      compatibilityFlags = ${JSON.stringify(compatibilityFlags)},
    )),
    (name = "internet", network = (allow = ["private"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "worker")],
);
`,
  );
  const child = spawn(workerd.default, ["serve", "workerd.capnp", `--control-fd=${EVENTS}`], { cwd: folder, stdio: ["ignore", "ignore", "pipe", "pipe"] });
  let said = "";
  child.stderr.on("data", (text) => (said += text));
  const ended = new Promise((resolve) => child.once("close", resolve));
  try {
    const port = await new Promise((resolve, reject) => {
      createInterface({ input: child.stdio[EVENTS] }).on("line", (line) => resolve(JSON.parse(line).port));
      child.once("error", reject);
      ended.then(() => reject(new Error(`workerd ended: ${said}`)));
    });
    const response = await fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    return `${await response.text()}\n${said}`;
  } finally {
    child.kill();
    await ended;
  }
}
