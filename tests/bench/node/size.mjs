// What a client adds to a Worker, and to node_modules.
import { readFileSync, readdirSync, statSync } from "node:fs";
import { builtinModules, createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { build } from "esbuild";

import { bytes, report } from "./support/report.mjs";

const FOLDER = fileURLToPath(new URL(".", import.meta.url));
const OTEL = ["@opentelemetry/api", "@opentelemetry/core", "@opentelemetry/exporter-trace-otlp-http", "@opentelemetry/sdk-trace-base"];

/** What a user installs, and a Worker's least: import, construct, one trace, flush. */
const MINIMAL = {
  "langfuse-edge": {
    packages: ["langfuse-edge"],
    source: `import { Langfuse } from "langfuse-edge";
      export default { async fetch(request, env, ctx) {
        const langfuse = new Langfuse({ publicKey: env.LANGFUSE_PUBLIC_KEY, secretKey: env.LANGFUSE_SECRET_KEY });
        langfuse.startObservation("request").end();
        ctx.waitUntil(langfuse.flush());
        return new Response("ok");
      } };`,
  },
  "@langfuse v5": {
    packages: ["@langfuse/tracing", "@langfuse/otel", ...OTEL],
    source: `import { LangfuseSpanProcessor } from "@langfuse/otel";
      import { setLangfuseTracerProvider, startObservation } from "@langfuse/tracing";
      import { BasicTracerProvider } from "@opentelemetry/sdk-trace-base";
      export default { async fetch(request, env, ctx) {
        const processor = new LangfuseSpanProcessor({ publicKey: env.LANGFUSE_PUBLIC_KEY, secretKey: env.LANGFUSE_SECRET_KEY, exportMode: "immediate" });
        setLangfuseTracerProvider(new BasicTracerProvider({ spanProcessors: [processor] }));
        startObservation("request").end();
        ctx.waitUntil(processor.forceFlush());
        return new Response("ok");
      } };`,
  },
  "langfuse v3": {
    packages: ["langfuse"],
    source: `import { Langfuse } from "langfuse";
      export default { async fetch(request, env, ctx) {
        const langfuse = new Langfuse({ publicKey: env.LANGFUSE_PUBLIC_KEY, secretKey: env.LANGFUSE_SECRET_KEY });
        langfuse.trace({ name: "request" });
        ctx.waitUntil(langfuse.flushAsync());
        return new Response("ok");
      } };`,
  },
  "posthog-node": {
    packages: ["posthog-node"],
    source: `import { PostHog } from "posthog-node";
      export default { async fetch(request, env, ctx) {
        const posthog = new PostHog(env.POSTHOG_KEY);
        posthog.capture({ distinctId: "worker", event: "$ai_trace", properties: { $ai_trace_id: crypto.randomUUID() } });
        ctx.waitUntil(posthog.flush());
        return new Response("ok");
      } };`,
  },
  langsmith: {
    packages: ["langsmith"],
    source: `import { Client, RunTree } from "langsmith";
      export default { async fetch(request, env, ctx) {
        const client = new Client({ apiKey: env.LANGSMITH_API_KEY });
        const run = new RunTree({ name: "request", run_type: "chain", client, tracingEnabled: true });
        ctx.waitUntil(run.postRun().then(() => client.awaitPendingTraceBatches()));
        return new Response("ok");
      } };`,
  },
};

async function worker(source) {
  const { outputFiles } = await build({
    stdin: { contents: source, resolveDir: FOLDER },
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
    logLevel: "silent",
  });
  const sum = (of) => outputFiles.reduce((sum, { contents }) => sum + of(contents), 0);
  return { min: sum(({ length }) => length), gzip: sum((contents) => gzipSync(contents, { level: 9 }).length) };
}

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
for (const [client, { packages, source }] of Object.entries(MINIMAL)) {
  const { min, gzip } = await worker(source);
  const folders = installed(packages);
  const size = folders.reduce((sum, folder) => sum + sizeOf(folder), 0);
  rows.push([client, bytes(Math.round(min / 100) * 100), bytes(Math.round(gzip / 100) * 100), `${folders.length}`, bytes(Math.round(size / 1e5) * 1e5)]);
}
report({ tables: [[["", "minimal Worker, minified", "gzip -9", "packages installed", "their size"], ...rows]] });
