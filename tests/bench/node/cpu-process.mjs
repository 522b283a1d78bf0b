// One client in a process of its own: what a trace costs it, sending included, and how much of it has arrived.
import { moduleOf } from "./clients.mjs";
import { payload } from "./payload.mjs";
import { spentMicros } from "./support/cpu.mjs";
import { arrivedAll, reset, state } from "./support/state.mjs";

const OBSERVATIONS = 2;

const { client, target, bytes, traces, warmUp, perFlush } = JSON.parse(process.argv[2]);
const { start } = await import(moduleOf(client));
const { trace, flush } = start(target);
const values = payload(bytes);
// Timers of some clients do not keep a process from ending, not even while it waits for their flush.
setInterval(() => {}, 1 << 30);

async function record(count) {
  for (let done = 0; done < count; ) {
    for (const end = done + perFlush; done < end; done++) trace(values);
    // Some reject, and go on.
    await flush()?.catch?.(() => {});
  }
}

const begin = spentMicros();
await record(perFlush);
const first = (spentMicros() - begin) / perFlush;
await record(warmUp - perFlush);
await arrivedAll(target);
await reset(target);
const before = spentMicros();
await record(traces);
const micros = (spentMicros() - before) / traces;
const { observations } = await state(target);
const delivered = observations / (traces * OBSERVATIONS);
console.log(JSON.stringify({ first, micros: micros / delivered, delivered }));
process.exit();
