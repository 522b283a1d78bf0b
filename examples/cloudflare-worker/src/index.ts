import { EmailMessage } from "cloudflare:email";
import { env as bindings } from "cloudflare:workers";
import { flushLangfuse, Langfuse, runWorkflowWithFlush, setLangfuse } from "langfuse-edge";

import type { Env } from "./env";
import { UnusableMessage } from "./mail";
import { summary } from "./summary";
import { handleEmail } from "./workflow";

setLangfuse(Langfuse.fromEnv(bindings));

export default {
  async email(message, env, ctx) {
    const { from, to, raw, rawSize } = message;
    const reply = (recipient: string, text: string) => message.reply(new EmailMessage(to, recipient, text));
    const done = runWorkflowWithFlush(handleEmail, { from, to, raw, rawSize, reply }, env);
    // Registered before the first await: a cancelled event then still delivers what it recorded.
    ctx.waitUntil(done.then(noop, noop).then(() => flushLangfuse(flushOptions(env))));
    try {
      console.log(summary(await done));
    } catch (error) {
      await giveUp(message, env, error);
    }
  },

  async fetch(request, env) {
    if (new URL(request.url).pathname !== "/flush") return new Response("Not found", { status: 404 });
    return Response.json(await flushLangfuse(flushOptions(env)));
  },
} satisfies ExportedHandler<Env>;

/** A message without an answer goes to a person, or back to its sender; never nowhere. */
async function giveUp(message: ForwardableEmailMessage, env: Env, error: unknown): Promise<void> {
  const reason = error instanceof Error ? error.message : String(error);
  if (error instanceof UnusableMessage) {
    console.error(`rejected: ${reason}`);
    message.setReject?.(reason);
  } else if (env.FALLBACK_ADDRESS) {
    console.error(`forwarded to ${env.FALLBACK_ADDRESS}: ${reason}`);
    await message.forward(env.FALLBACK_ADDRESS);
  } else {
    console.error(`rejected: ${reason}`);
    message.setReject?.("This message cannot be answered at the moment. Please send it again later.");
  }
}

function flushOptions(env: Env): { timeoutMs?: number } {
  const timeoutMs = Number(env.FLUSH_TIMEOUT_MS);
  return timeoutMs > 0 ? { timeoutMs } : {};
}

function noop(): void {}
