import { convert } from "html-to-text";
import PostalMime from "postal-mime";
import type { Attachment, Email } from "postal-mime";

const MAX_BYTES = 10 * 1024 * 1024;
const MAX_TEXT_CHARS = 8_000;

/** A message as it arrives: that of a Worker, or whatever a host has. */
export interface IncomingMessage {
  readonly from: string;
  readonly to: string;
  readonly raw: ReadableStream | Uint8Array;
  readonly rawSize: number;
  /** Sends the reply, an RFC 5322 message. */
  reply(to: string, raw: string): Promise<unknown>;
}

/** What the workflow needs of a message. */
export interface Mail {
  from: string;
  subject: string;
  text: string;
  messageId: string | undefined;
  references: string | undefined;
  /** Sent by a machine (RFC 3834): nobody waits for an answer, and answering can start a mail loop. */
  automatic: boolean;
  attachments: { name: string; type: string; bytes: number }[];
}

/** The message is not one that can be answered; its text is a sentence for the sender. */
export class UnusableMessage extends Error {
  override name = "UnusableMessage";
}

export async function readMail(message: IncomingMessage): Promise<Mail> {
  if (message.rawSize === 0) throw new UnusableMessage("the message is empty");
  if (message.rawSize > MAX_BYTES) {
    throw new UnusableMessage(`the message has ${message.rawSize} bytes, at most ${MAX_BYTES} are read`);
  }
  const email = await PostalMime.parse(message.raw);
  const from = email.from?.address;
  if (!from) throw new UnusableMessage("not an RFC 5322 message: it has no From header with an address");
  const text = email.text?.replaceAll("\r\n", "\n").trim() || htmlToText(email.html ?? "");
  if (!text && email.attachments.length === 0) {
    throw new UnusableMessage("the message has neither text nor attachments");
  }
  return {
    from,
    subject: email.subject?.trim() || "(no subject)",
    text: text.slice(0, MAX_TEXT_CHARS),
    messageId: email.messageId,
    references: email.references,
    automatic: (header(email, "auto-submitted") ?? "no").toLowerCase() !== "no",
    attachments: email.attachments.map((attachment, index) => ({
      name: attachment.filename || `attachment-${index + 1}`,
      type: attachment.mimeType,
      bytes: byteLength(attachment),
    })),
  };
}

/** The form in which the prompts show a message. */
export function describeMail(mail: Mail): string {
  const attachments = mail.attachments.map(({ name, type, bytes }) => `Attachment: ${name} (${type}, ${bytes} bytes)`);
  return [`Subject: ${mail.subject}`, `From: ${mail.from}`, ...attachments, "", mail.text].join("\n");
}

function header(email: Email, key: string): string | undefined {
  return email.headers.find((field) => field.key === key)?.value;
}

function byteLength({ content }: Attachment): number {
  return typeof content === "string" ? new TextEncoder().encode(content).length : content.byteLength;
}

function htmlToText(html: string): string {
  return convert(html, { wordwrap: false, selectors: [{ selector: "a", options: { ignoreHref: true } }, { selector: "img", format: "skip" }] })
    .replace(/[^\S\n]+/g, " ")
    .replace(/\s*\n\s*/g, "\n")
    .trim();
}
