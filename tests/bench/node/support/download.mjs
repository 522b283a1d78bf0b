// What the users of a Worker download.
import { builtinModules } from "node:module";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { build } from "esbuild";

const FOLDER = fileURLToPath(new URL("../minimal/", import.meta.url));

/** Of a Worker of the folder `minimal`, by its name: the bytes of its JavaScript and its wasm, minified, and of that with gzip -9. */
export async function download(worker) {
  const { outputFiles } = await build({
    entryPoints: [`${FOLDER}${worker}.mjs`],
    bundle: true,
    minify: true,
    write: false,
    outdir: FOLDER,
    format: "esm",
    conditions: ["workerd", "worker", "browser"],
    // Not `browser`, as which some packages offer what cannot be shaken.
    mainFields: ["module", "main"],
    external: ["node:*", "cloudflare:*", ...builtinModules],
    loader: { ".wasm": "copy" },
    assetNames: "[name]",
    logLevel: "warning",
  });
  const files = (extension) => outputFiles.filter(({ path }) => path.endsWith(extension)).map(({ contents }) => contents);
  const sum = (numbers) => numbers.reduce((sum, number) => sum + number, 0);
  const sizes = (files) => ({
    min: sum(files.map(({ length }) => length)),
    gzip: sum(files.map((contents) => gzipSync(contents, { level: 9 }).length)),
  });
  return { js: sizes(files(".js")), wasm: sizes(files(".wasm")) };
}
