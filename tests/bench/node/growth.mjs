// What an observation costs while something grows: the queue, the payload, the attributes, the requests at the same time.
import { fileURLToPath } from "node:url";

import { OURS } from "./clients.mjs";
import { measured } from "./support/process.mjs";
import { number, report } from "./support/report.mjs";
import { alternate } from "./support/rounds.mjs";
import { withServers } from "./support/servers.mjs";

const PROCESS = fileURLToPath(new URL("growth-process.mjs", import.meta.url));
const SERIES = [
  { name: "waiting", what: "observations that wait", values: [10, 100, 1000, 10_000], total: 10_000 },
  { name: "bytes", what: "bytes of payload", values: [200, 2000, 20_000, 200_000], options: { waiting: 50 }, total: (value) => (value > 10_000 ? 300 : 2000) },
  { name: "attributes", what: "metadata entries", values: [1, 3, 10, 30, 100], total: 2000 },
  { name: "requests", what: "requests at the same time", values: [1, 3, 10, 30, 100], options: { waiting: 1000 }, total: 3000 },
];

await withServers(async ({ targetOf }) => {
  const target = targetOf(OURS);
  const tables = [];
  const plots = [];
  for (const { name, what, values, options, total } of SERIES) {
    const medians = await alternate(7, values, (value) => {
      const count = typeof total === "function" ? total(value) : total;
      return measured(process.execPath, [PROCESS, JSON.stringify({ target, ...options, [name]: value, total: count })]);
    });
    const points = [...medians].map(([value, { micros }]) => [value, micros]);
    const [[, least]] = points;
    tables.push([[what, ...points.map(([value]) => value.toLocaleString("en"))], ["CPU time of an observation, ratio to the first", ...points.map(([, micros]) => number(micros / least))]]);
    plots.push({ name, title: `CPU time of an observation over ${what}`, x: what, y: "µs", lines: [{ name: OURS, points }] });
  }
  report({ tables, plots });
});
