// A Worker that records, and does nothing else for it: no wrapper, no flush.
import { DurableObject } from "cloudflare:workers";
import { getLangfuse, Langfuse, setLangfuse } from "langfuse-edge";

import { handlersOf } from "./handlers.mjs";
import env from "./env.mjs";

setLangfuse(Langfuse.fromEnv(env));

/** By hand, because nothing says what is current. */
function step(name, input, act) {
  const observation = getLangfuse().startObservation(name, { input });
  const output = act();
  observation.update({ output }).end();
  return output;
}

const handlers = handlersOf(step);
export default handlers;

export class Room extends DurableObject {
  fetch() {
    return handlers.routes["/socket"]();
  }
  async wake() {
    await this.ctx.storage.setAlarm(Date.now() + 10);
    return step("sleep", null, () => "good night");
  }
  alarm() {
    step("work", null, () => "done");
  }
}
