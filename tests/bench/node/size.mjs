// What a client adds to a Worker, and to node_modules.
import { readFileSync, readdirSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { download } from "./support/download.mjs";
import { bytes, report } from "./support/report.mjs";

const FOLDER = fileURLToPath(new URL(".", import.meta.url));
const OTEL = ["@opentelemetry/api", "@opentelemetry/core", "@opentelemetry/exporter-trace-otlp-http", "@opentelemetry/sdk-trace-base"];

/** A Worker's least, by its file in `minimal`: import, construct, one trace, flush. And what its author installs. */
const MINIMAL = {
  "langfuse-edge": { worker: "langfuse-edge", packages: ["langfuse-edge"] },
  "@langfuse v5": { worker: "langfuse5", packages: ["@langfuse/tracing", "@langfuse/otel", ...OTEL] },
  "langfuse v3": { worker: "langfuse3", packages: ["langfuse"] },
  "posthog-node": { worker: "posthog", packages: ["posthog-node"] },
  langsmith: { worker: "langsmith", packages: ["langsmith"] },
};

/** The folders of packages and of all that they depend on, as Node.js finds them. */
function installed(names) {
  const folders = new Set();
  const visit = (name, from) => {
    const paths = createRequire(from).resolve.paths(name) ?? [];
    const folder = paths.map((path) => join(path, name)).find((path) => statSync(join(path, "package.json"), { throwIfNoEntry: false }));
    if (!folder || folders.has(folder)) return;
    folders.add(folder);
    const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const isOptional = (name) => manifest.peerDependenciesMeta?.[name]?.optional;
    const peers = Object.keys(manifest.peerDependencies ?? {}).filter((name) => !isOptional(name));
    for (const dependency of [...Object.keys(manifest.dependencies ?? {}), ...peers]) visit(dependency, join(folder, "package.json"));
  };
  for (const name of names) visit(name, join(FOLDER, "any.js"));
  return [...folders];
}

function sizeOf(folder) {
  let size = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    // What is installed in there is counted by its own name.
    if (entry.isDirectory()) size += entry.name === "node_modules" ? 0 : sizeOf(join(folder, entry.name));
    else if (entry.isFile()) size += statSync(join(folder, entry.name)).size;
  }
  return size;
}

const rows = [];
for (const [client, { worker, packages }] of Object.entries(MINIMAL)) {
  const { js, wasm } = await download(worker);
  const [min, gzip] = [js.min + wasm.min, js.gzip + wasm.gzip];
  const folders = installed(packages);
  const size = folders.reduce((sum, folder) => sum + sizeOf(folder), 0);
  rows.push([client, bytes(Math.round(min / 100) * 100), bytes(Math.round(gzip / 100) * 100), `${folders.length}`, bytes(Math.round(size / 1e5) * 1e5)]);
}
report({ tables: [[["", "minimal Worker, minified", "gzip -9", "packages installed", "their size"], ...rows]] });
