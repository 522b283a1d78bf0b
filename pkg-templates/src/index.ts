/** The package, with the core loaded as it suits the host. */

import "./load.js";

export * from "./api.js";
