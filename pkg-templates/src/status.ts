/** What the troubleshooting of a program asks for. */

import type { Langfuse } from "./client.js";
import type { Lifetime } from "./lifetime.js";
import { getLangfuse } from "./observability.js";
import { serverOf } from "./project.js";
import { sentenceOf } from "./report.js";

/** How a client is doing. It holds no secret. */
export interface Status {
  /** Whether anything is recorded. */
  enabled: boolean;
  /** Why nothing is recorded. */
  whyDisabled: string | undefined;
  /** The server; undefined when the client is disabled. */
  host: string | undefined;
  /** How the public key begins; undefined when the client is disabled. */
  publicKey: string | undefined;
  /** Observations that have started and not ended. */
  open: number;
  /** Records waiting now. */
  queued: number;
  /** Records in flight now. */
  inFlight: number;
  /** Bytes of the records waiting or in flight now. */
  bytes: number;
  /** Records the server acknowledged since the client was made. */
  delivered: number;
  /** Records the server refused, or that were given up, since the client was made. */
  lost: number;
  /** When a flush last delivered something. */
  lastDelivery: Date | undefined;
  /** What the last flush that was not all well said. */
  lastError: { at: Date; message: string } | undefined;
}

const KEY_LENGTH = 10;

/** Whether the process-wide client records anything. */
export function isEnabled(): boolean {
  return getLangfuse().enabled;
}

/** How a client is doing, asking nobody. It never throws. @param client Default: the process-wide one. */
export function status(client: Langfuse = getLangfuse()): Status {
  const { life, open, deliveredAt, failed } = client.lifetime;
  const { enabled } = client;
  const { queued, leased, bytes, delivered, rejected, dropped } = client.stats();
  const key = life.LANGFUSE_PUBLIC_KEY?.trim();
  return {
    enabled,
    whyDisabled: enabled ? undefined : whyDisabled(client.lifetime),
    host: enabled ? serverOf(life) : undefined,
    publicKey: enabled && key ? `${key.slice(0, KEY_LENGTH)}${key.length > KEY_LENGTH ? "…" : ""}` : undefined,
    open: open.size,
    queued,
    inFlight: leased,
    bytes,
    delivered,
    lost: rejected + dropped,
    lastDelivery: deliveredAt === undefined ? undefined : new Date(deliveredAt),
    lastError: failed && { at: new Date(failed.at), message: messageOf(failed.report) },
  };
}

function whyDisabled({ life, make, problem }: Lifetime): string {
  if (problem) return problem;
  if (!make) return "it was freed";
  const isSwitchedOff = /^(false|0)$/i.test(life.LANGFUSE_TRACING_ENABLED?.trim() ?? "");
  if (isSwitchedOff) return "enabled (LANGFUSE_TRACING_ENABLED) is false";
  const missing = life.LANGFUSE_PUBLIC_KEY?.trim() ? "secretKey (LANGFUSE_SECRET_KEY)" : "publicKey (LANGFUSE_PUBLIC_KEY)";
  return `${missing} is not set`;
}

function messageOf(report: Parameters<typeof sentenceOf>[0]): string {
  const [first] = report.rejected;
  return first ? `${sentenceOf(report)}; first: ${first.status} ${first.message}` : sentenceOf(report);
}
