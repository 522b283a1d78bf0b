// The npm package in a Worker: one client, one command per request.
import { answer, recordAll } from "./commands.mjs";
import { Langfuse } from "langfuse-edge";

// Each cell gives its own.
import options from "./options.mjs";

const langfuse = new Langfuse(options);

/** Ways to be terminated, as a request is that uses too much CPU time. */
const terminations = {
  "after the flush began": () => {
    langfuse.flush();
    process.exit();
  },
  "below a wasm frame": () => {
    const { fetch } = globalThis;
    globalThis.fetch = () => {
      globalThis.fetch = fetch;
      process.exit();
    };
    langfuse.flush();
  },
};

export default {
  async fetch(request) {
    const { forget, terminated, ...command } = JSON.parse(new URL(request.url).searchParams.get("command"));
    if (terminated) {
      recordAll(langfuse, command.record);
      terminations[terminated]();
    }
    if (forget) {
      const ids = recordAll(langfuse, command.record);
      langfuse.flush();
      return Response.json({ ids });
    }
    return Response.json(await answer(langfuse, command));
  },
};
