// A process that has just begun, as the first invocation of a Lambda function: import, construct, and with `traces` record and flush.
const { client, target, traces } = JSON.parse(process.argv[2]);
const { moduleOf } = await import("./clients.mjs");
const { payload } = await import("./payload.mjs");
const { spentMicros } = await import("./support/cpu.mjs");
const values = payload(2000);
setInterval(() => {}, 1 << 30);

const begun = performance.now();
const before = spentMicros();
const { start } = await import(moduleOf(client));
const { trace, flush } = start(target);
const ready = performance.now() - begun;
for (let done = 0; done < traces; done++) trace(values);
await flush()?.catch?.(() => {});
console.log(JSON.stringify({ ready, wall: performance.now() - begun, cpu: (spentMicros() - before) / 1000 }));
process.exit();
