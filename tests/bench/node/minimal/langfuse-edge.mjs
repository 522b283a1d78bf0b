import { Langfuse } from "langfuse-edge";

export default {
  async fetch(request, env, ctx) {
    const langfuse = new Langfuse({ publicKey: env.LANGFUSE_PUBLIC_KEY, secretKey: env.LANGFUSE_SECRET_KEY });
    langfuse.startObservation("request").end();
    ctx.waitUntil(langfuse.flush());
    return new Response("ok");
  },
};
