/** Loads the core with what the host has for `#wasm`: see the imports of package.json. */

import module from "#wasm";

import { init } from "./core.js";

init(module);
