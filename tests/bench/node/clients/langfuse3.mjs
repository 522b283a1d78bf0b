// Langfuse's own client, version 3, which servers of today refuse.
import { Langfuse } from "langfuse";

import { MODEL, USAGE } from "../payload.mjs";

export function start({ url, publicKey, secretKey }) {
  const langfuse = new Langfuse({ baseUrl: url, publicKey, secretKey });
  return {
    trace({ messages, reply }) {
      const root = langfuse.trace({ name: "request" }).span({ name: "request" });
      root.generation({ name: "answer", model: MODEL, input: messages }).end({ output: reply, usageDetails: USAGE });
      root.end();
    },
    flush: () => langfuse.flushAsync(),
  };
}
