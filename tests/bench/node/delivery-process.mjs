// One client in a process of its own, through one fault: what has arrived each time its flush is over.
import { setTimeout as sleep } from "node:timers/promises";

import { moduleOf } from "./clients.mjs";
import { state } from "./support/state.mjs";

const { client, target, scenario } = JSON.parse(process.argv[2]);
const { events, bytes = 10, poison, waitMs = 0, patienceMs = 20_000, secondAfterMs } = scenario;
const since = performance.now();
const { start } = await import(moduleOf(client));
const { generation, flush } = start(target);
setInterval(() => {}, 1 << 30);
// Some leave a failure that nobody has waited for.
process.on("unhandledRejection", () => {});

const flushes = [];
async function flushed() {
  const begun = performance.now();
  let outcome = "ok";
  const rejects = () => (outcome = "rejects");
  const never = async () => (await sleep(patienceMs), (outcome = "never"));
  try {
    await Promise.race([Promise.resolve(flush()).catch(rejects), never()]);
  } catch {
    rejects();
  }
  const ms = performance.now() - begun;
  const { observations, requests } = await state(target);
  flushes.push({ outcome, ms: Math.round(ms), observations, requests });
}

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/** Text that does not compress. */
const text = (length) => Array.from({ length }, () => ALPHABET[(Math.random() * 64) | 0]).join("");

const texts = Array.from({ length: events }, (_, index) => text(index === poison?.at ? poison.bytes : bytes));
for (const input of texts) generation(input);
await sleep(waitMs);
await flushed();
if (secondAfterMs) {
  await sleep(Math.max(0, secondAfterMs - (performance.now() - since)));
  await flushed();
}
console.log(JSON.stringify(flushes));
process.exit();
