/**
 * The package for those who bring its wasm, the file `langfuse-edge/core_bg.wasm`, by themselves.
 *
 * @module langfuse-edge/raw
 */

import { init as initCore } from "./core.js";

export * from "./api.js";

/** Loads the core. Nothing else here works before; once it is loaded, this does nothing. */
export function init(module: WebAssembly.Module): void {
  initCore(module);
}
