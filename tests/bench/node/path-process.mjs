// One client in a process of its own: how long a handler waits while a trace is recorded. What is flushed is not counted.
import { moduleOf } from "./clients.mjs";
import { payload } from "./payload.mjs";

const PER_FLUSH = 100;

const { client, target, bytes, traces, warmUp } = JSON.parse(process.argv[2]);
const { start } = await import(moduleOf(client));
const { trace, flush } = start(target);
const values = payload(bytes);
setInterval(() => {}, 1 << 30);

const times = [];
for (let done = 0; done < warmUp + traces; done++) {
  const begun = process.hrtime.bigint();
  trace(values);
  const nanos = Number(process.hrtime.bigint() - begun);
  if (done >= warmUp) times.push(nanos / 1000);
  if (done % PER_FLUSH === 0) await flush()?.catch?.(() => {});
}
times.sort((a, b) => a - b);
const at = (share) => times[Math.floor(share * times.length)];
console.log(JSON.stringify({ p50: at(0.5), p99: at(0.99) }));
process.exit();
