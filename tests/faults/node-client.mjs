// The npm package in Node: answers commands, one JSON line each, at the same time. It ends by itself when there are
// no more, unless the client has left something behind.
import { createInterface } from "node:readline";

import { answer } from "./commands.mjs";
import { Langfuse } from "langfuse-edge";

const langfuse = new Langfuse(JSON.parse(process.argv[2]));

createInterface({ input: process.stdin }).on("line", async (line) => {
  const { n, command } = JSON.parse(line);
  process.stdout.write(`${JSON.stringify({ n, answer: await answer(langfuse, command) })}\n`);
});
