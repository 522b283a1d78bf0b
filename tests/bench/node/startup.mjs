// What a client costs before anything is recorded: in Node.js, in a process that makes one trace and is done, and in a cold
// isolate of workerd.
import { fileURLToPath } from "node:url";

import { CLIENTS, FLOOR, OURS } from "./clients.mjs";
import { measured } from "./support/process.mjs";
import { number, report } from "./support/report.mjs";
import { alternate } from "./support/rounds.mjs";
import { withServers } from "./support/servers.mjs";
import { bundled, coldStart } from "./support/workerd.mjs";

const PROCESS = fileURLToPath(new URL("cold-process.mjs", import.meta.url));
const ROUNDS = 9;

await withServers(async ({ targetOf }) => {
  const clients = Object.keys(CLIENTS);
  const processes = await alternate(ROUNDS, clients, (client) =>
    measured(process.execPath, [PROCESS, JSON.stringify({ client, target: targetOf(client), traces: 1 })]),
  );
  const bundles = new Map();
  for (const client of clients) bundles.set(client, await bundled(client));
  const isolates = await alternate(ROUNDS, clients, async (client) => ({ cpu: await coldStart(bundles.get(client), targetOf(client)) }));
  const floor = isolates.get(FLOOR).cpu;
  const rows = clients
    .filter((client) => client !== FLOOR)
    .map((client) => {
      const { ready, cpu } = processes.get(client);
      return [client, number(ready), number(cpu - processes.get(FLOOR).cpu), number(isolates.get(client).cpu - floor)];
    });
  const heading = ["ms", "Node.js: import and construct", "Node.js: CPU until one trace is sent", "workerd: CPU until the first answer"];
  report({ values: { startMillis: processes.get(OURS).ready }, tables: [[heading, ...rows]] });
});
