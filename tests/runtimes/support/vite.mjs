import { load } from "./tools.mjs";

/** Vite's server for development, for the page of a folder. */
export async function viteDevServer(root) {
  const { createServer } = await import(load.resolve("vite"));
  const server = await createServer({ root, configFile: false, logLevel: "silent", server: { host: "127.0.0.1", port: 0 } });
  await server.listen();
  return { url: server.resolvedUrls.local[0], close: () => server.close() };
}
