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

export default handlersOf(step);

export class Room extends DurableObject {
  fetch() {
    const { 0: client, 1: server } = new WebSocketPair();
    server.accept();
    server.addEventListener("message", ({ data }) => server.send(step("message", data, () => `plain ${data}`)));
    return new Response(null, { status: 101, webSocket: client });
  }
  async wake() {
    await this.ctx.storage.setAlarm(Date.now() + 10);
    return step("sleep", null, () => "good night");
  }
  alarm() {
    step("work", null, () => "done");
  }
}
