// CPU time per trace, a span and a generation below it, sending included, in Node.js or, with `--bun`, in Bun.
import { fileURLToPath } from "node:url";

import { CLIENTS, FLOOR, LANGFUSE5, NODE_FLOOR, OURS } from "./clients.mjs";
import { measured } from "./support/process.mjs";
import { bytes, number, percent, report } from "./support/report.mjs";
import { alternate } from "./support/rounds.mjs";
import { withServers } from "./support/servers.mjs";

const PROCESS = fileURLToPath(new URL("cpu-process.mjs", import.meta.url));
/** Bytes of payload, how many traces of it are recorded, and after how many of them is a flush. */
const SIZES = [
  { bytes: 200, traces: 2000, warmUp: 2000, perFlush: 100 },
  { bytes: 2000, traces: 4000, warmUp: 4000, perFlush: 100 },
  { bytes: 20_000, traces: 1000, warmUp: 1000, perFlush: 100 },
  { bytes: 200_000, traces: 300, warmUp: 300, perFlush: 100 },
  { bytes: 200_000, traces: 300, warmUp: 300, perFlush: 50 },
];

const isQuick = process.argv.includes("--quick");
const isBun = process.argv.includes("--bun");
const runtime = isBun ? (await import("../../runtimes/support/tools.mjs")).bun : process.execPath;
const two = SIZES.filter(({ bytes }) => bytes === 2000);
const sizes = isBun ? two.map((size) => ({ ...size, traces: 2000, warmUp: 2000 })) : isQuick ? two : SIZES;
const all = isBun ? Object.keys(CLIENTS) : [...Object.keys(CLIENTS), NODE_FLOOR];
const clients = isQuick ? [OURS, LANGFUSE5, FLOOR] : all;

await withServers(async ({ targetOf }) => {
  const columns = [];
  for (const size of sizes) {
    const medians = await alternate(7, clients, (client) =>
      measured(runtime, [PROCESS, JSON.stringify({ client, target: targetOf(client), ...size })]),
    );
    console.error(`${bytes(size.bytes)}, a flush every ${size.perFlush}: ${JSON.stringify(Object.fromEntries(medians))}`);
    columns.push({ ...size, medians });
  }
  const ours = (of) => ({ medians }) => of(medians.get(OURS));
  const ratio = (client, of, medians) => number(of(medians.get(client)) / of(medians.get(OURS)));
  const arrived = ({ delivered }) => (delivered > 0.995 ? "" : ` (${percent(delivered)} arrived)`);
  const table = (of, more = () => "") => [
    ["", ...columns.map(({ bytes: size, perFlush }) => `${bytes(size)}, a flush every ${perFlush}`)],
    ...clients.map((client) => [client, ...columns.map(({ medians }) => ratio(client, of, medians) + more(medians.get(client)))]),
    [`µs of ${OURS}`, ...columns.map(ours(of)).map((micros) => `${Math.round(micros)}`)],
  ];
  const { medians } = columns.find(({ bytes }) => bytes === 2000);
  const micros = (client) => medians.get(client).micros;
  report({
    // The budgets are about Node.js.
    values: isBun ? {} : { cpuOverV5: micros(OURS) / micros(LANGFUSE5), cpuOverFloor: micros(OURS) / micros(FLOOR) },
    tables: [table(({ micros }) => micros, arrived), table(({ first }) => first)],
  });
});
