import { Langfuse } from "langfuse";

export default {
  async fetch(request, env, ctx) {
    const langfuse = new Langfuse({ publicKey: env.LANGFUSE_PUBLIC_KEY, secretKey: env.LANGFUSE_SECRET_KEY });
    langfuse.trace({ name: "request" });
    ctx.waitUntil(langfuse.flushAsync());
    return new Response("ok");
  },
};
