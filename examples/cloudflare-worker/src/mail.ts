import PostalMime from "postal-mime";
import type { Attachment, Email } from "postal-mime";

const MAX_BYTES = 10 * 1024 * 1024;
const MAX_TEXT_CHARS = 8_000;

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

export async function readMail(message: ForwardableEmailMessage): Promise<Mail> {
  if (message.rawSize === 0) throw new UnusableMessage("the message is empty");
  if (message.rawSize > MAX_BYTES) {
    throw new UnusableMessage(`the message has ${message.rawSize} bytes, at most ${MAX_BYTES} are read`);
  }
  const email = await PostalMime.parse(message.raw);
  const from = email.from?.address;
  if (!from) throw new UnusableMessage("not an RFC 5322 message: it has no From header with an address");
  const text = email.text?.replaceAll("\r\n", "\n").trim() || (email.html ? await htmlToText(email.html) : "");
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

async function htmlToText(html: string): Promise<string> {
  let text = "";
  const rewriter = new HTMLRewriter()
    .on("style, script, title", {
      element(element) {
        element.remove();
      },
    })
    .on("br, p, div, li, tr, h1, h2, h3", {
      element() {
        text += "\n";
      },
    })
    .on("body, body *", {
      text(chunk) {
        if (!chunk.removed) text += chunk.text;
      },
    });
  await rewriter.transform(new Response(/<body[\s>]/i.test(html) ? html : `<body>${html}</body>`)).text();
  return decodeEntities(text)
    .replace(/[^\S\n]+/g, " ")
    .replace(/\s*\n\s*/g, "\n")
    .trim();
}

const ENTITIES: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: " ", euro: "€" };

function decodeEntities(text: string): string {
  return text.replace(/&(?:#(\d+)|#x([0-9a-f]+)|(\w+));/gi, (entity, decimal, hex, name) => {
    const code = decimal ? Number(decimal) : hex ? Number.parseInt(hex, 16) : undefined;
    if (code !== undefined) return code <= 0x10ffff ? String.fromCodePoint(code) : entity;
    return ENTITIES[name.toLowerCase()] ?? entity;
  });
}
