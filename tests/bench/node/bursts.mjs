// How many requests a flush makes, and what of a burst has arrived when one flush is over.
import { fileURLToPath } from "node:url";

import { CLIENTS, FLOOR, LANGFUSE5, OURS } from "./clients.mjs";
import { measured } from "./support/process.mjs";
import { bytes, report } from "./support/report.mjs";
import { withServers } from "./support/servers.mjs";

const PROCESS = fileURLToPath(new URL("burst-process.mjs", import.meta.url));
const BYTES = 200;

const isQuick = process.argv.includes("--quick");
const clients = isQuick ? [OURS, LANGFUSE5] : Object.keys(CLIENTS).filter((client) => client !== FLOOR);

await withServers(async ({ targetOf }) => {
  const burst = (client, observations) =>
    measured(process.execPath, [PROCESS, JSON.stringify({ client, target: targetOf(client), bytes: BYTES, traces: observations / 2 })]);
  const rows = [];
  const values = {};
  for (const client of clients) {
    const [few, many] = [await burst(client, 100), await burst(client, 5000)];
    const most = isQuick ? undefined : await burst(client, 50_000);
    if (client === OURS) Object.assign(values, { requestsPerFlush: few.requests, burstDelivered: many.observations });
    const cell = ({ observations, requests, peakBytes }) => [observations, requests, bytes(Math.round(peakBytes / 1e5) * 1e5)];
    rows.push([client, few.observations, few.requests, ...cell(many), ...(most ? cell(most) : [])].map(String));
  }
  const heading = ["", "of 100", "requests", "of 5,000", "requests", "peak", ...(isQuick ? [] : ["of 50,000", "requests", "peak"])];
  report({ values, tables: [[heading, ...rows]] });
});
