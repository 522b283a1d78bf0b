import type { Mail } from "./mail";

/** A reply with the threading headers that `message.reply` insists on, as RFC 5322 text. */
export function composeReply(mail: Mail, from: string, text: string): string {
  if (!mail.messageId) throw new Error("the message has no Message-ID, a reply could not name it");
  const subject = /^re:/i.test(mail.subject) ? mail.subject : `Re: ${mail.subject}`;
  const headers = [
    `From: ${oneLine(from)}`,
    `To: ${oneLine(mail.from)}`,
    `Subject: ${encodeHeader(oneLine(subject))}`,
    `Date: ${new Date().toUTCString().replace("GMT", "+0000")}`,
    `Message-ID: <${crypto.randomUUID()}@${oneLine(from.split("@")[1] ?? "localhost")}>`,
    `In-Reply-To: ${oneLine(mail.messageId)}`,
    `References: ${oneLine([mail.references, mail.messageId].filter(Boolean).join(" "))}`,
    "Auto-Submitted: auto-replied",
    "MIME-Version: 1.0",
    "Content-Type: text/plain; charset=utf-8",
    "Content-Transfer-Encoding: base64",
  ];
  const body = base64(text.replace(/\r?\n/g, "\r\n")).replace(/.{1,76}/g, "$&\r\n");
  return `${headers.join("\r\n")}\r\n\r\n${body}`;
}

/** A line break in a header value would start a header of the sender's choice. */
function oneLine(value: string): string {
  return value.replace(/[\u0000-\u001f\u007f]+/g, " ").trim();
}

/** RFC 2047: encoded words of at most 75 characters, cut between characters. */
function encodeHeader(value: string): string {
  if (/^[\x20-\x7e]*$/.test(value)) return value;
  const words = [""];
  for (const character of value) {
    const longer = words[words.length - 1] + character;
    if (new TextEncoder().encode(longer).length <= 45) words[words.length - 1] = longer;
    else words.push(character);
  }
  return words.map((word) => `=?UTF-8?B?${base64(word)}?=`).join("\r\n ");
}

function base64(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}
