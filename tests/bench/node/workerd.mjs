// CPU time per trace in workerd, sending included.
import { setTimeout as sleep } from "node:timers/promises";

import { CLIENTS, OURS } from "./clients.mjs";
import { number, percent, report } from "./support/report.mjs";
import { alternate } from "./support/rounds.mjs";
import { withServers } from "./support/servers.mjs";
import { arrivedAll, reset, state } from "./support/state.mjs";
import { bundled, withWorker } from "./support/workerd.mjs";

const OBSERVATIONS = 2;
const TRACES = 1000;
const PER_REQUEST = 100;

async function measure(modules, target) {
  return withWorker(modules, async ({ ask, cpuMicros }) => {
    const record = async (traces) => {
      for (let done = 0; done < traces; done += PER_REQUEST) await ask({ target, bytes: 2000, traces: PER_REQUEST });
    };
    await record(TRACES);
    await arrivedAll(target);
    await reset(target);
    const before = await cpuMicros();
    await record(TRACES);
    const after = await cpuMicros();
    const { observations } = await state(target);
    const delivered = observations / (TRACES * OBSERVATIONS);
    return { micros: (after - before) / TRACES / delivered, delivered };
  });
}

await withServers(async ({ targetOf }) => {
  const modules = new Map();
  const failures = [];
  for (const client of Object.keys(CLIENTS)) {
    const bundle = await bundled(client);
    const trial = await Promise.race([measure(bundle, targetOf(client)).catch((error) => error), sleep(60_000, new Error("no answer"))]);
    if (trial instanceof Error || !(trial.delivered > 0)) failures.push([client, `does not work here: ${trial.message ?? "nothing arrived"}`]);
    else modules.set(client, bundle);
  }
  const medians = await alternate(7, [...modules.keys()], (client) => measure(modules.get(client), targetOf(client)));
  const ours = medians.get(OURS).micros;
  const rows = [...medians].map(([client, { micros, delivered }]) => [client, number(micros / ours), percent(delivered)]);
  report({ tables: [[["", "CPU time, 2 kB, a flush every 100", "arrived"], ...rows, ...failures.map((row) => [...row, ""]), [`µs of ${OURS}`, `${Math.round(ours)}`, ""]]] });
});
