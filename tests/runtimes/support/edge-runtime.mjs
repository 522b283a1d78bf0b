// A function of Vercel's Edge runtime, asked once.
import { join } from "node:path";

import { startEdgeFunction } from "../../js/support/edge-runtime.mjs";
import { load } from "./tools.mjs";

export async function askEdgeFunction(folder, main) {
  const tools = { esbuild: load("esbuild"), EdgeRuntime: load("edge-runtime").EdgeRuntime };
  const runtime = await startEdgeFunction(tools, join(folder, main));
  const response = await runtime.dispatchFetch("http://edge/");
  return response.text();
}
