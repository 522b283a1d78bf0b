/** As `process.ts`, for Cloudflare Workers. */

// Whole, because older versions of workerd have no `waitUntil` here, and a name that is missing keeps a Worker from starting.
import * as workers from "cloudflare:workers";

import { registerFlush, type Recorder } from "./register.js";

export * from "./no-process.js";

export const recorded = (client: Recorder) => registerFlush(client, workers);
