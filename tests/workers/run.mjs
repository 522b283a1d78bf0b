// Scenarios of Workers and other serverless functions in the real runtimes: what each has recorded has to arrive.
//
//   node tests/workers/run.mjs [word of a scenario's name]...
import { startHost } from "./host.mjs";
import { SCENARIOS } from "./scenarios.mjs";
import { until } from "../js/support/until.mjs";

const wanted = process.argv.slice(2);
/** So many at a time: more would disturb each other's milliseconds. */
const POOL = 2;
const DELIVERY_MS = 12_000;
const SCENARIO_MS = 20_000;
/** A response that comes later than this for its tracing has waited for something. Langfuse takes 300 ms in most scenarios. */
const NOTICED_MS = 150;

/** What has arrived, by name. */
const namesOf = (rows) => {
  const ids = new Map(rows.map(({ id, name }) => [id, name]));
  const counts = {};
  for (const name of ids.values()) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
};
const total = (counts) => Object.values(counts).reduce((sum, count) => sum + count, 0);
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

async function play(scenario) {
  const problems = [];
  let host;
  let recorded = {};
  let state;
  try {
    host = await (scenario.start ?? startHost)(scenario.options);
    recorded = await inTime(scenario.run(host));
    await host.arrived(total(recorded), DELIVERY_MS).catch(() => {});
    await scenario.after?.(host);
    const rows = await host.receiver.rows();
    state = await host.receiver.state();
    const arrived = namesOf(rows);
    for (const name of new Set([...Object.keys(recorded), ...Object.keys(arrived)])) {
      const [wanted, got] = [recorded[name] ?? 0, arrived[name] ?? 0];
      if (wanted !== got) problems.push(`${name}: ${got} of ${wanted} arrived`);
    }
    const allowed = scenario.duplicates ?? 0;
    if (state.duplicates > allowed) problems.push(`${state.duplicates} duplicates instead of at most ${allowed}`);
    if (state.duplicatesWithOtherStart > 0) problems.push("duplicates with another start time, which are not merged");
  } catch (error) {
    problems.push(error.message);
  } finally {
    problems.push(...(host?.complaints() ?? []).map((line) => `workerd complains: ${line}`));
    await host?.stop();
  }
  const delay = host?.delays.length > 0 ? median(host.delays) : undefined;
  const { noticedMs = NOTICED_MS } = scenario;
  if (delay > noticedMs && !scenario.waits) problems.push(`the response came ${delay.toFixed(2)} ms later, which is more than ${noticedMs} ms`);
  return { recorded: total(recorded), state, delay, problems };
}

/** A scenario that goes on for ever fails by itself alone. */
async function inTime(promise) {
  let timer;
  const never = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not over after ${SCENARIO_MS / 1000} s`)), SCENARIO_MS);
  });
  return Promise.race([promise, never]).finally(() => clearTimeout(timer));
}

const scenarios = SCENARIOS.filter(({ name }) => wanted.every((word) => name.includes(word)));
const begun = performance.now();
const results = new Map();
const playAll = async (scenarios) => {
  for (let scenario = scenarios.shift(); scenario; scenario = scenarios.shift()) results.set(scenario, await play(scenario));
};
const together = scenarios.filter(({ isAlone }) => !isAlone);
await Promise.all(Array.from({ length: POOL }, () => playAll(together)));
await playAll(scenarios.filter(({ isAlone }) => isAlone));

const table = [
  ["scenario", "recorded", "delivered", "duplicates", "added to the response (median)"],
  ...scenarios.map((scenario) => {
    const { recorded, state, delay, problems } = results.get(scenario);
    const ms = delay === undefined ? "-" : `${delay.toFixed(2)} ms${scenario.waits ? `, ${scenario.waits}` : ""}`;
    return [`${problems.length > 0 ? "FAILED " : ""}${scenario.name}`, recorded, state?.observations ?? "-", state?.duplicates ?? "-", ms];
  }),
];
const widths = table[0].map((_, column) => Math.max(...table.map((row) => String(row[column]).length)));
for (const row of table) {
  const cells = row.map((cell, column) => (column === 0 ? String(cell).padEnd(widths[0]) : String(cell).padStart(widths[column])));
  console.log(cells.join("  ").trimEnd());
}
console.log("Of a few requests to a new isolate the added time is that of its start; many to a warm one are in the last row.");
const failed = scenarios.filter((scenario) => results.get(scenario).problems.length > 0);
for (const scenario of failed) console.log(`${scenario.name}: ${results.get(scenario).problems.join("; ")}`);
console.log(`${scenarios.length - failed.length} of ${scenarios.length} scenarios lost nothing, in ${((performance.now() - begun) / 1000).toFixed(1)} s`);
process.exitCode = failed.length > 0 ? 1 : 0;
