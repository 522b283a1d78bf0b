// One client in a process of its own: observations recorded in one turn, then one flush, and what has arrived when it is over.
import { setTimeout as sleep } from "node:timers/promises";

import { moduleOf } from "./clients.mjs";
import { payload } from "./payload.mjs";
import { reset, state } from "./support/state.mjs";

const PATIENCE_MS = 30_000;

const { client, target, bytes, traces } = JSON.parse(process.argv[2]);
const { start } = await import(moduleOf(client));
const { trace, flush } = start(target);
const values = payload(bytes);
await reset(target);
const base = process.resourceUsage().maxRSS;
for (let done = 0; done < traces; done++) trace(values);
await Promise.race([flush()?.catch?.(() => {}), sleep(PATIENCE_MS)]);
const { observations, requests } = await state(target);
console.log(JSON.stringify({ observations, requests, peakBytes: 1024 * (process.resourceUsage().maxRSS - base) }));
process.exit();
