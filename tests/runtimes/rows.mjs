// Every runtime, and how a program that imports the package gets to run there.
import { basename, dirname, join } from "node:path";

import { askEdgeFunction } from "./support/edge-runtime.mjs";
import { output } from "./support/process.mjs";
import { bin, bun, deno, node, version } from "./support/tools.mjs";
import { viteDevServer } from "./support/vite.mjs";
import { askWorker, NEWEST } from "./support/workerd.mjs";

/** How the package gets into a fresh folder. */
export const INSTALLERS = {
  npm: ["npm", "install", "langfuse-edge"],
  bun: [bun, "add", "langfuse-edge"],
  deno: [deno, "add", "npm:langfuse-edge"],
  "deno, into its cache": [deno, "cache", "npm:langfuse-edge"],
};

/** Bundlers run on this one: wrangler and Vite want a newer one than the package does. */
const NODE = node(24);

const DATES = [
  // Until June 2025 a Worker could not compile bytes when it starts, and to this day not in a request.
  { compatibilityDate: "2024-09-01" },
  { compatibilityDate: "2024-09-01", compatibilityFlags: ["nodejs_compat"] },
  { compatibilityDate: NEWEST },
  { compatibilityDate: NEWEST, compatibilityFlags: ["nodejs_compat"] },
];
const say = ({ compatibilityDate, compatibilityFlags = [] }) => [compatibilityDate, ...compatibilityFlags].join(" ");

/** What a program printed that SIGTERM has ended. */
function endedBy(error) {
  if (!error.message.includes("ended with SIGTERM")) throw error;
  return error.message;
}

/**
 * Rows of `name`, `installer`, the `main` file of hosts/, and `run`, which gets the folder with that file and gives
 * what the program printed.
 */
export async function rows(browser) {
  const nodes = await Promise.all(
    [process.execPath, node(22), NODE].map(async (path) => ({ path, name: `Node.js ${(await output(path, ["--version"])).trim().slice(1)}` })),
  );
  const script = (name, installer, main, ...command) => ({
    name,
    installer,
    main,
    run: (folder) => output(command[0], [...command.slice(1), main], { cwd: folder }),
  });
  /** Without a flush: at the end of the process, and at SIGTERM, by which it must end. */
  const unflushed = (name, installer, ...command) => {
    const signal = script(`${name}, SIGTERM`, installer, "signal.mjs", ...command);
    return [
      script(`${name}, no flush`, installer, "end.mjs", ...command),
      { ...signal, run: (folder) => signal.run(folder).then(() => "it was not ended by the signal", endedBy) },
    ];
  };
  const bundle = (folder, name, ...args) => output(NODE, [bin(name), ...args], { cwd: folder });
  const bundled = (name, main, run) => ({ name, installer: "npm", main, run });

  const DENO = `Deno ${version("deno")}`;
  const BUN = `Bun ${version("bun")}`;
  const WORKERD = `workerd ${version("workerd")}`;
  const CHROMIUM = `Chromium ${browser.version}`;
  const [ESBUILD, ROLLUP, VITE, WEBPACK, WRANGLER] = ["esbuild", "rollup", "vite", "webpack", "wrangler"].map((name) => `${name} ${version(name)}`);
  const toBrowser = ["main.mjs", "--bundle", "--format=esm", "--outfile=dist/main.mjs"];

  return [
    ...nodes.flatMap(({ name, path }) => [
      script(`${name}, import`, "npm", "main.mjs", path),
      script(`${name}, require`, "npm", "main.cjs", path),
    ]),
    script(`${nodes[0].name}, langfuse-edge/raw`, "npm", "raw.mjs", process.execPath),
    ...unflushed(nodes[0].name, "npm", process.execPath),

    script(`${DENO}, import "npm:…"`, "deno, into its cache", "deno.mjs", deno, "run", "--no-prompt", "--allow-net"),
    script(`${DENO}, import`, "deno", "main.mjs", deno, "run", "--no-prompt", "--allow-net"),
    script(`${DENO}, require`, "deno", "main.cjs", deno, "run", "--no-prompt", "--allow-net", "--allow-read"),
    ...unflushed(DENO, "deno", deno, "run", "--no-prompt", "--allow-net"),
    script(`${BUN}, import`, "bun", "main.mjs", bun),
    script(`${BUN}, require`, "bun", "main.cjs", bun),
    ...unflushed(BUN, "bun", bun),

    ...DATES.map((compatibility) =>
      bundled(`${WORKERD}, ${say(compatibility)}`, "worker.mjs", async (folder) => {
        // As wrangler does it, whatever the flags are.
        await bundle(folder, "esbuild", "worker.mjs", "--bundle", "--format=esm", "--conditions=workerd,worker,browser", "--external:cloudflare:*", "--loader:.wasm=copy", "--outdir=dist");
        return askWorker(join(folder, "dist"), "worker.js", compatibility);
      }),
    ),
    ...DATES.slice(-2).map((compatibility) =>
      bundled(`${WRANGLER}, ${say(compatibility)}`, "worker.mjs", async (folder) => {
        const { compatibilityDate, compatibilityFlags = [] } = compatibility;
        const flags = compatibilityFlags.map((flag) => `--compatibility-flags=${flag}`);
        await bundle(folder, "wrangler", "deploy", "worker.mjs", "--dry-run", "--outdir=dist", "--name=worker", `--compatibility-date=${compatibilityDate}`, ...flags);
        return askWorker(join(folder, "dist"), "worker.js", compatibility);
      }),
    ),
    { name: `edge-runtime ${version("edge-runtime")}`, installer: "npm", main: "edge.mjs", run: (folder) => askEdgeFunction(folder, "edge.mjs") },

    {
      name: `${CHROMIUM}, import map`,
      installer: "npm",
      main: "main.mjs",
      page: "import-map.html",
      run: (folder) => browser.openFile(dirname(folder), `${basename(folder)}/import-map.html`),
    },
    bundled(`${ESBUILD}, Chromium`, "main.mjs", async (folder) => {
      await bundle(folder, "esbuild", ...toBrowser);
      return browser.openScript(folder, "dist/main.mjs");
    }),
    bundled(`${ESBUILD}, Node.js`, "main.mjs", async (folder) => {
      await bundle(folder, "esbuild", ...toBrowser, "--platform=node");
      return output(process.execPath, ["dist/main.mjs"], { cwd: folder });
    }),
    bundled(`${WEBPACK}, Chromium`, "main.mjs", async (folder) => {
      await bundle(folder, "webpack", "./main.mjs", "--mode=production");
      return browser.openScript(folder, "dist/main.js");
    }),
    bundled(`${WEBPACK}, Node.js`, "main.mjs", async (folder) => {
      await bundle(folder, "webpack", "./main.mjs", "--mode=production", "--target=node");
      return output(process.execPath, ["dist/main.js"], { cwd: folder });
    }),
    {
      ...bundled(`${VITE} build, Chromium`, "main.mjs", async (folder) => {
        await bundle(folder, "vite", "build");
        return browser.openFile(join(folder, "dist"), "index.html");
      }),
      page: "index.html",
    },
    {
      ...bundled(`${VITE} dev server, Chromium`, "main.mjs", async (folder) => {
        const server = await viteDevServer(folder);
        return browser.open(server.url).finally(server.close);
      }),
      page: "index.html",
    },
    bundled(`${VITE} build --ssr, Node.js`, "main.mjs", async (folder) => {
      await bundle(folder, "vite", "build", "--ssr", "main.mjs");
      return output(process.execPath, ["dist/main.mjs"], { cwd: folder });
    }),
    // Its plugin, without which Rollup leaves every package out of the bundle.
    ...["Chromium", "Node.js"].map((host) =>
      bundled(`${ROLLUP} with node-resolve, ${host}`, "main.mjs", async (folder) => {
        await bundle(folder, "rollup", "main.mjs", "--plugin=@rollup/plugin-node-resolve", "--file=dist/main.mjs");
        return host === "Chromium" ? browser.openScript(folder, "dist/main.mjs") : output(process.execPath, ["dist/main.mjs"], { cwd: folder });
      }),
    ),
  ];
}
