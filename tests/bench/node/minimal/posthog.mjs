import { PostHog } from "posthog-node";

export default {
  async fetch(request, env, ctx) {
    const posthog = new PostHog(env.POSTHOG_KEY);
    posthog.capture({ distinctId: "worker", event: "$ai_trace", properties: { $ai_trace_id: crypto.randomUUID() } });
    ctx.waitUntil(posthog.flush());
    return new Response("ok");
  },
};
