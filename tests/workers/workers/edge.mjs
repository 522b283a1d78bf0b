// A function of Vercel's Edge runtime: it flushes nothing itself.
import { Langfuse, setLangfuse, withLangfuseRequests } from "langfuse-edge";

import { handlersOf } from "./handlers.mjs";

// The host gives them.
const langfuse = new Langfuse(LANGFUSE_OPTIONS);
setLangfuse(langfuse);

function step(name, input, act) {
  const observation = langfuse.startObservation(name, { input });
  const output = act();
  observation.update({ output }).end();
  return output;
}

const plain = handlersOf((name, input, act) => act());
const traced = withLangfuseRequests(handlersOf(step).fetch);

addEventListener("fetch", (event) => {
  const { pathname, host } = new URL(event.request.url);
  event.respondWith((host === "plain" ? plain.fetch : traced)(event.request));
});
