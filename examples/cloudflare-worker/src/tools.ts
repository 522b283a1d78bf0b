import type { Mail } from "./mail";

export type Arguments = Record<string, unknown>;
export type Tool = (args: Arguments, mail: Mail) => unknown;

const ORDERS: Record<string, { status: string; detail: string }> = {
  "1042": { status: "shipped", detail: "tracking number EX1042EU, expected in two working days" },
  "1077": { status: "delivered", detail: "delivered yesterday, signed at the door" },
  "1093": { status: "delivered", detail: "delivered last week, 49.00 EUR paid by card" },
};

const FAQ = [
  { topic: "refund", words: ["refund", "money back", "broken"], answer: "A refund is paid within 14 days after we have the item back." },
  { topic: "delivery", words: ["delivery", "shipping", "abroad"], answer: "Delivery takes 3 days, abroad 7 days; abroad it costs 12.00 EUR." },
  { topic: "invoice", words: ["invoice", "amount", "payment"], answer: "Invoices are payable by bank transfer or card within 30 days; a corrected one is sent the next working day." },
];

/** The tools a plan may name. Each returns what it found or throws a sentence about what is missing. */
export const TOOLS: Record<string, Tool> = {
  lookup_order({ order_number }) {
    const number = text(order_number, "order_number");
    const order = Object.hasOwn(ORDERS, number) ? ORDERS[number] : undefined;
    if (!order) throw new Error(`there is no order ${number}`);
    return { order_number: number, ...order };
  },

  search_faq({ query }) {
    const wanted = text(query, "query").toLowerCase();
    const hits = FAQ.filter(({ words }) => words.some((word) => wanted.includes(word)));
    return hits.map(({ topic, answer }) => ({ topic, answer }));
  },

  summarize_attachment({ name }, mail) {
    const wanted = text(name, "name");
    const attachment = mail.attachments.find((candidate) => candidate.name === wanted);
    if (!attachment) throw new Error(`the message has no attachment "${wanted}"`);
    const [family = "file"] = attachment.type.split("/");
    return { ...attachment, summary: `${family === "application" ? "document" : family} of ${attachment.bytes} bytes` };
  },

  create_calendar_entry({ title, date, time }, mail) {
    const day = text(date, "date");
    const start = new Date(`${day}T${text(time, "time").padStart(5, "0")}:00Z`);
    if (Number.isNaN(start.getTime())) throw new Error(`"${day} ${time}" is not a date and time`);
    const end = new Date(start.getTime() + 60 * 60 * 1000);
    return { title: text(title, "title"), start: start.toISOString(), end: end.toISOString(), attendee: mail.from };
  },
};

function text(value: unknown, name: string): string {
  if (typeof value !== "string" || value === "") throw new Error(`the plan gives no ${name}`);
  return value;
}
