// The fault matrix, with peers as columns: how many of the observations have arrived when the flush is over.
import { fileURLToPath } from "node:url";

import { CLIENTS, FLOOR } from "./clients.mjs";
import { measured } from "./support/process.mjs";
import { report } from "./support/report.mjs";
import { withServers } from "./support/servers.mjs";

const PROCESS = fileURLToPath(new URL("delivery-process.mjs", import.meta.url));
/** Cells at the same time: they wait more than they work. */
const POOL = 3;
const DELAY = { delayMs: 5 };
const SCENARIOS = [
  { name: "F1 happy", fault: DELAY, events: 40 },
  { name: "F2 in flight when the flush begins", fault: { delayMs: 300 }, events: 20, waitMs: 60, options: { flushAt: 20 } },
  { name: "F3 first answer 503", fault: { ...DELAY, status: 503, first: 1 }, events: 40 },
  { name: "F4 first answer 500", fault: { ...DELAY, status: 500, first: 1 }, events: 40 },
  { name: "F5 first connection reset", fault: { ...DELAY, reset: true, first: 1 }, events: 40 },
  { name: "F6 first answer 429, Retry-After 2", fault: { ...DELAY, status: 429, retryAfter: "2", first: 1 }, events: 40 },
  { name: "F7 413 above 204,800 B", fault: { ...DELAY, maxBodyBytes: 204_800 }, events: 40, bytes: 20_000 },
  { name: "F8 one of 1 MB, 413 above 204,800 B", fault: { ...DELAY, maxBodyBytes: 204_800 }, events: 40, poison: { at: 5, bytes: 1_000_000 } },
  { name: "F9 no answer", fault: { hang: true }, events: 40, patienceMs: 40_000 },
  { name: "F10 burst of 5,000", fault: { delayMs: 20 }, events: 5000, patienceMs: 25_000 },
  { name: "F11 outage of 4 s, then a second flush", fault: { status: 503, forMs: 4000 }, events: 40, patienceMs: 30_000, secondAfterMs: 4300 },
];

const clients = Object.keys(CLIENTS).filter((client) => client !== FLOOR);
const cells = SCENARIOS.flatMap((scenario) => clients.map((client) => ({ scenario, client })));
const texts = new Map();

async function cell({ scenario, client }) {
  return withServers(async ({ targetOf }) => {
    const { fault, options, ...rest } = scenario;
    const target = { ...targetOf(client), ...options };
    const response = await fetch(`${target.url}/dev/faults`, { method: "POST", body: JSON.stringify(fault) });
    if (!response.ok) throw new Error(await response.text());
    const flushes = await measured(process.execPath, [PROCESS, JSON.stringify({ client, target, scenario: rest })]);
    const { observations } = flushes.at(-1);
    const arrived = observations < rest.events ? `**${observations}**` : `${observations}`;
    const seconds = ({ ms }) => (ms < 1000 ? [] : [`${(ms / 1000).toFixed(1)} s`]);
    const said = ({ outcome, ms }) => (outcome === "ok" ? seconds({ ms }) : outcome === "never" ? [`not over in ${(ms / 1000).toFixed(0)} s`] : ["rejects", ...seconds({ ms })]);
    return [arrived, ...flushes.flatMap(said)].join(", ");
  });
}

const waiting = [...cells];
await Promise.all(
  Array.from({ length: POOL }, async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      texts.set(next, await cell(next).catch((error) => `failed: ${error.message.slice(0, 80)}`));
    }
  }),
);
const rows = SCENARIOS.map((scenario) => [
  `${scenario.name}, of ${scenario.events.toLocaleString("en")}`,
  ...cells.filter((cell) => cell.scenario === scenario).map((cell) => texts.get(cell)),
]);
report({ tables: [[["", ...clients], ...rows]] });
