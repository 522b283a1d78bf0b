import { output } from "./process.mjs";
import { bin } from "./tools.mjs";

/**
 * Fails unless every way to import the tarball finds types that say what is there. The profile leaves out the way of
 * Node.js 10, which knows no exports and so no `langfuse-edge/raw`.
 */
export async function checkTypes(tarball) {
  await output(process.execPath, [bin("attw"), tarball, "--profile=node16", "--no-emoji", "--no-color", "--exclude-entrypoints=./core_bg.wasm"]);
}
