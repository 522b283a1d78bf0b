// The memory of our wasm module, which never shrinks, while records wait in it and after many rounds.
import { instances } from "../../js/support/traps.mjs";
import { payload } from "./payload.mjs";

const { start } = await import("./clients/edge.mjs");
const { target, bytes, traces, rounds } = JSON.parse(process.argv[2]);
const { trace, flush, langfuse } = start(target);
const values = payload(bytes);
const memory = Object.values(instances.at(-1).exports).find((value) => value instanceof WebAssembly.Memory);
const size = () => memory.buffer.byteLength;

const base = size();
const sizes = [];
let encodedBytes = 0;
for (let round = 0; round < rounds; round++) {
  for (let done = 0; done < traces; done++) trace(values);
  encodedBytes = Math.max(encodedBytes, langfuse.stats().bytes);
  await flush();
  sizes.push(size());
}
console.log(JSON.stringify({ base, encodedBytes, sizes, left: langfuse.stats().bytes, dropped: langfuse.stats().dropped }));
process.exit();
