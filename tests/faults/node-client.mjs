// The npm package in Node: answers commands, one JSON line each, at the same time. It ends by itself when there are
// no more, unless the client has left something behind.
import { createInterface } from "node:readline";

import { answer } from "./commands.mjs";
import { Langfuse } from "langfuse-edge";

// What a flush has retained, the one at the end of the process tries again, and says that it failed: no complaint.
process.env.LANGFUSE_LOG_LEVEL = "ERROR";
const langfuse = new Langfuse(JSON.parse(process.argv[2]));

createInterface({ input: process.stdin }).on("line", async (line) => {
  const { n, command } = JSON.parse(line);
  process.stdout.write(`${JSON.stringify({ n, answer: await answer(langfuse, command) })}\n`);
});
