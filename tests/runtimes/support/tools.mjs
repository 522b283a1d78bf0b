// Runtimes and bundlers of package.json, where xtask has installed them.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { arch } from "node:process";
import { join } from "node:path";

const MODULES = process.env.LANGFUSE_EDGE_RUNTIMES;

const inModules = (...path) => join(MODULES, ...path);
export const bin = (name) => inModules(".bin", name);
export const load = createRequire(join(MODULES, "any.js"));
export const version = (name) => JSON.parse(readFileSync(inModules(name, "package.json"), "utf8")).version;

// Their own launchers expect what an installation script would have left.
export const node = (major) => inModules(`node-${major}-linux-${arch}/bin/node`);
export const deno = inModules(`@deno/linux-${arch}-glibc/deno`);
export const bun = inModules(`@oven/bun-linux-${arch === "arm64" ? "aarch64" : arch}/bin/bun`);
