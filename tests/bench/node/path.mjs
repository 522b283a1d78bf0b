// What recording a trace adds to the handler of a request.
import { fileURLToPath } from "node:url";

import { CLIENTS, FLOOR, OURS } from "./clients.mjs";
import { measured } from "./support/process.mjs";
import { number, report } from "./support/report.mjs";
import { alternate } from "./support/rounds.mjs";
import { withServers } from "./support/servers.mjs";

const PROCESS = fileURLToPath(new URL("path-process.mjs", import.meta.url));
const clients = Object.keys(CLIENTS).filter((client) => client !== FLOOR);

await withServers(async ({ targetOf }) => {
  const medians = await alternate(7, clients, (client) =>
    measured(process.execPath, [PROCESS, JSON.stringify({ client, target: targetOf(client), bytes: 2000, traces: 1000, warmUp: 1000 })]),
  );
  const ours = medians.get(OURS);
  const cell = (value, own) => `${number(value / own)}`;
  report({
    values: { recordMicros: ours.p50 / 2 },
    tables: [
      [
        ["", "p50", "p99"],
        ...clients.map((client) => [client, cell(medians.get(client).p50, ours.p50), cell(medians.get(client).p99, ours.p99)]),
        [`µs of ${OURS}`, number(ours.p50), number(ours.p99)],
      ],
    ],
  });
});
