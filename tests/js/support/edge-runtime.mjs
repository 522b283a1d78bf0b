// A function of Vercel's Edge runtime.
import { readFile } from "node:fs/promises";
import { join } from "node:path";

/** Starts it, bundled and given its wasm as Next.js does it: a module compiled outside of the sandbox, under a global name. */
export async function startEdgeFunction({ esbuild, EdgeRuntime }, entry, globals = {}) {
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
    entryPoints: [entry],
    bundle: true,
    write: false,
    format: "iife",
    conditions: ["edge-light"],
    plugins: [compiled],
    logLevel: "silent",
  });
  const runtime = new EdgeRuntime({ extend: (context) => Object.assign(context, wasm, globals) });
  runtime.evaluate(outputFiles[0].text);
  return runtime;
}
