// An isolate with a global EdgeRuntime, as Supabase has it: nobody flushes, and it is gone when what it was given is settled.
const promises = [];
globalThis.EdgeRuntime = { waitUntil: (promise) => promises.push(promise) };

const { Langfuse } = await import("langfuse-edge");
const { options } = await import("./options.mjs");
const { program } = await import("./program.mjs");

const result = await program({ Langfuse }, options, true);
await Promise.all(promises);
console.log(JSON.stringify(result));
Deno.exit();
