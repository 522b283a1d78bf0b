// What is in the package, file by file. That it works everywhere is for `cargo xtask runtimes` to prove.
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { builtinModules } from "node:module";
import { basename, join } from "node:path";
import { describe, test } from "node:test";

import { build } from "esbuild";

import { ROOT } from "./support/program.mjs";

const DIST = join(ROOT, "pkg/dist");

/** The files that a host with these conditions loads, with what they import from elsewhere. */
async function reached(entry, conditions) {
  const { metafile } = await build({
    entryPoints: [join(DIST, entry)],
    bundle: true,
    write: false,
    outdir: "out",
    format: "esm",
    conditions,
    external: ["node:*", "cloudflare:*", ...builtinModules],
    loader: { ".wasm": "copy" },
    metafile: true,
    logLevel: "silent",
  });
  const files = Object.entries(metafile.inputs);
  return {
    names: files.map(([path]) => basename(path)),
    external: files.flatMap(([, { imports }]) => imports.filter(({ external }) => external).map(({ path }) => path)),
  };
}

describe("no module of Node.js is imported", () => {
  for (const [host, conditions, loader] of [
    ["workerd", ["workerd", "worker", "browser"], "wasm-workerd.js"],
    ["edge-light", ["edge-light", "worker", "browser"], "wasm-edge.js"],
    ["browser", ["browser"], "wasm-inline.js"],
  ]) {
    for (const entry of ["index.js", "v3.js"]) {
      test(`under the condition ${host} by ${entry}`, async () => {
        const { names, external } = await reached(entry, conditions);
        assert.ok(names.includes(loader) && names.includes("context.js"), names.join());
        assert.ok(names.includes("no-process.js") && !names.includes("process.js"), "nothing runs between requests");
        assert.deepEqual(external.filter((path) => !path.startsWith("cloudflare:")), []);
      });
    }
  }

  test("by who brings the wasm", async () => {
    const { names, external } = await reached("raw.js", []);
    assert.deepEqual(names.filter((name) => name.startsWith("wasm-")), [], "it brings none itself");
    assert.deepEqual(external, []);
  });
});

test("the entry for version 3 is paid for by its users only", async () => {
  const { names } = await reached("index.js", ["workerd"]);
  assert.deepEqual(names.filter((name) => /^(v3|sha256)/.test(name)), []);
});

test("the entry for the console brings nothing of the core", async () => {
  const { names, external } = await reached("console.js", ["workerd"]);
  assert.deepEqual(names.filter((name) => /^(core|client|load|wasm)/.test(name)), []);
  assert.deepEqual(external, []);
});

test("every file of the TypeScript layer has a map with its source", async () => {
  const sources = (await readdir(join(ROOT, "pkg-templates/src"))).filter((name) => !name.endsWith(".d.ts"));
  for (const source of sources) {
    const name = source.replace(/ts$/, "js");
    const code = await readFile(join(DIST, name), "utf8");
    assert.ok(code.endsWith(`//# sourceMappingURL=${name}.map`), name);
    const map = JSON.parse(await readFile(join(DIST, `${name}.map`), "utf8"));
    assert.deepEqual(map.sourcesContent, [await readFile(join(ROOT, "pkg-templates/src", source), "utf8")], name);
  }
});
