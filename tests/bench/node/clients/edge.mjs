// langfuse-edge.
import { Langfuse } from "langfuse-edge";

import { MODEL, USAGE } from "../payload.mjs";

export function start({ url, publicKey, secretKey }) {
  const langfuse = new Langfuse({ baseUrl: url, publicKey, secretKey });
  return {
    langfuse,
    trace({ messages, reply }) {
      const root = langfuse.startObservation("request");
      const generation = root.startObservation("answer", { model: MODEL, input: messages }, { asType: "generation" });
      generation.update({ output: reply, usageDetails: USAGE }).end();
      root.end();
    },
    flush: () => langfuse.flush(),
  };
}
