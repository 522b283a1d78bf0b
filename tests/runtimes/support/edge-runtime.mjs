// A function of Vercel's Edge runtime, asked once.
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { load } from "./tools.mjs";

const esbuild = load("esbuild");
const { EdgeRuntime } = load("edge-runtime");

/** Bundled and given its wasm as Next.js does it: a module compiled outside of the sandbox, under a global name. */
export async function askEdgeFunction(folder, main) {
  const wasm = {};
  const compiled = {
    name: "wasm?module",
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /\.wasm\?module$/ }, ({ path, resolveDir }) => ({
        path: join(resolveDir, path.replace("?module", "")),
        namespace: "wasm",
      }));
      onLoad({ filter: /$/, namespace: "wasm" }, async ({ path }) => {
        const name = `wasm_${Object.keys(wasm).length}`;
        wasm[name] = await WebAssembly.compile(await readFile(path));
        return { contents: `export default ${name}` };
      });
    },
  };
  const { outputFiles } = await esbuild.build({
    entryPoints: [join(folder, main)],
    bundle: true,
    write: false,
    format: "iife",
    conditions: ["edge-light"],
    plugins: [compiled],
    logLevel: "silent",
  });
  const runtime = new EdgeRuntime({ extend: (context) => Object.assign(context, wasm) });
  runtime.evaluate(outputFiles[0].text);
  const response = await runtime.dispatchFetch("http://edge/");
  return response.text();
}
