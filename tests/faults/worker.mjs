// The npm package in a Worker: one client, one command per request.
import { answer, recordAll } from "./commands.mjs";
import { Langfuse, observe, withLangfuse } from "langfuse-edge";

// Each cell gives its own.
import options from "./options.mjs";

// What a request does not flush is not to be flushed behind its back.
const langfuse = new Langfuse({ ...options, waitUntil: false });

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

/** An answer without end. */
const answerOn = observe(
  () =>
    new ReadableStream({
      async pull(controller) {
        await scheduler.wait(10);
        controller.enqueue("more ");
      },
    }),
  { name: "answer", client: langfuse },
);
const streaming = withLangfuse({ fetch: () => new Response(answerOn().pipeThrough(new TextEncoderStream())) }, { client: langfuse });

export default {
  async fetch(request, env, ctx) {
    if (new URL(request.url).searchParams.has("leaveAfter")) return streaming.fetch(request, env, ctx);
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
