// What is recorded: the request and the reply of a language model, of a given size together, half of it each.
const WORDS = "the model answers with a plan that has three steps, \"first\" of which is to read\nwhat was said before it".split(" ");

export function payload(bytes) {
  let text = "";
  for (let index = 0; text.length < bytes / 2; index++) text += `${WORDS[(index * 7919) % WORDS.length]} `;
  text = text.slice(0, Math.max(1, Math.floor(bytes / 2)));
  const question = text.slice(0, Math.max(1, text.length - 70));
  return { messages: [{ role: "system", content: "You answer." }, { role: "user", content: question }], reply: text };
}

export const MODEL = "gpt-4o";
export const USAGE = { input: 512, output: 128 };
