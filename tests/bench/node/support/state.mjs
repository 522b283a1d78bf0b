// What a server has got, asked by who has sent it.
import { setTimeout as sleep } from "node:timers/promises";

export const reset = async ({ url }) => void (await (await fetch(`${url}/dev/reset`, { method: "POST" })).text());

export const state = async ({ url }) => (await fetch(`${url}/dev/state`)).json();

/** Until nothing has come for a while: some flushes end before what they sent has arrived. */
export async function arrivedAll(target) {
  for (let before = -1, { observations } = await state(target); observations !== before; ) {
    before = observations;
    await sleep(500);
    ({ observations } = await state(target));
  }
}
