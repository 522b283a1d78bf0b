// What records that wait cost in memory: natively by the allocator's own account, in JavaScript by the size of the wasm memory.
import { fileURLToPath } from "node:url";

import { OURS } from "./clients.mjs";
import { measured } from "./support/process.mjs";
import { bytes, number, report } from "./support/report.mjs";
import { withServers } from "./support/servers.mjs";

const PROCESS = fileURLToPath(new URL("memory-process.mjs", import.meta.url));
const NATIVE = process.env.LANGFUSE_EDGE_BENCH_MEMORY;

const isQuick = process.argv.includes("--quick");
const counts = isQuick ? [5000] : [5000, 50_000];

await withServers(async ({ receiver, targetOf }) => {
  const native = [];
  for (const count of counts) native.push(await measured(NATIVE, [receiver.url, `${count}`]));
  const inWasm = (options) => measured(process.execPath, [PROCESS, JSON.stringify({ target: targetOf(OURS), ...options })]);
  const waiting = await inWasm({ bytes: 2000, traces: 2500, rounds: 1 });
  const rounds = await inWasm({ bytes: 2000, traces: 100, rounds: isQuick ? 20 : 100 });
  const [burst] = native;
  const perByte = burst.liveBytes / burst.encodedBytes;
  const wasmPerByte = (waiting.sizes[0] - waiting.base) / waiting.encodedBytes;
  const [first, last] = [rounds.sizes[Math.floor(rounds.sizes.length / 10)], rounds.sizes.at(-1)];
  const rough = (count) => bytes(Math.round(count / 1e4) * 1e4);
  report({
    values: {
      queueMemory: perByte,
      wasmMemory: wasmPerByte,
      memoryLeft: burst.afterFlush / burst.liveBytes,
      wasmGrowth: last / first,
      allocations: burst.allocations,
    },
    tables: [
      [
        ["native, observations of 2 kB", ...native.map(({ queued, dropped }) => `${queued + dropped}`)],
        ["waiting", ...native.map(({ queued }) => `${queued}`)],
        ["their encoded bytes", ...native.map(({ encodedBytes }) => rough(encodedBytes))],
        ["live bytes per encoded byte", ...native.map((run) => number(run.liveBytes / run.encodedBytes))],
        ["peak, flush included, per encoded byte", ...native.map((run) => number(run.peakBytes / run.encodedBytes))],
        ["live bytes after the flush", ...native.map(({ afterFlush }) => rough(afterFlush))],
        ["allocations per observation", ...native.map(({ allocations }) => number(allocations))],
      ],
      [
        ["wasm memory", ""],
        ["when the module is new", rough(waiting.base)],
        [`with ${rough(waiting.encodedBytes)} of records, per encoded byte`, number(wasmPerByte)],
        [`after ${Math.ceil(rounds.sizes.length / 10)} rounds of 100 traces of 2 kB`, rough(first)],
        [`after ${rounds.sizes.length}`, rough(last)],
      ],
    ],
  });
});
