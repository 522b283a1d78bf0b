/** What the troubleshooting of a program asks for. */

import type { Langfuse } from "./client.js";
import { getLangfuse } from "./observability.js";
import { serverOf } from "./project.js";
import { sentenceOf } from "./report.js";

/** How a client is doing. It holds no secret. */
export interface Status {
  /** Whether anything is recorded. */
  enabled: boolean;
  /** The server; undefined when the client is disabled. */
  host: string | undefined;
  /** How the public key begins; undefined when the client is disabled. */
  publicKey: string | undefined;
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
  const { life, deliveredAt, failed } = client.lifetime;
  const { enabled } = client;
  const { queued, leased, bytes, delivered, rejected, dropped } = client.stats();
  const key = life.LANGFUSE_PUBLIC_KEY?.trim();
  return {
    enabled,
    host: enabled ? serverOf(life) : undefined,
    publicKey: enabled && key ? `${key.slice(0, KEY_LENGTH)}${key.length > KEY_LENGTH ? "…" : ""}` : undefined,
    queued,
    inFlight: leased,
    bytes,
    delivered,
    lost: rejected + dropped,
    lastDelivery: deliveredAt === undefined ? undefined : new Date(deliveredAt),
    lastError: failed && { at: new Date(failed.at), message: messageOf(failed.report) },
  };
}

function messageOf(report: Parameters<typeof sentenceOf>[0]): string {
  const [first] = report.rejected;
  return first ? `${sentenceOf(report)}; first: ${first.status} ${first.message}` : sentenceOf(report);
}
