// langfuse-edge.
import { Langfuse } from "langfuse-edge";

import { MODEL, USAGE } from "../payload.mjs";

export function start({ url, publicKey, secretKey, flushAt }) {
  const langfuse = new Langfuse({ baseUrl: url, publicKey, secretKey, flushAt });
  return {
    langfuse,
    trace({ messages, reply }) {
      const root = langfuse.startObservation("request");
      const generation = root.startObservation("answer", { model: MODEL, input: messages }, { asType: "generation" });
      generation.update({ output: reply, usageDetails: USAGE }).end();
      root.end();
    },
    generation: (input) => langfuse.startObservation("event", { model: MODEL, input }, { asType: "generation" }).end(),
    flush: () => langfuse.flush(),
  };
}
