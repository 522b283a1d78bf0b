/**
 * The package, with the core loaded as it suits the host.
 *
 * @module langfuse-edge
 */

import "./load.js";

export * from "./api.js";
