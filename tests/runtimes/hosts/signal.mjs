import process from "node:process";

import { flushOnSignals, Langfuse } from "langfuse-edge";

import { options } from "./options.mjs";
import { program } from "./program.mjs";

flushOnSignals();
setInterval(() => {}, 1000);
program({ Langfuse }, options, true).then((result) => {
  console.log(JSON.stringify(result));
  process.kill(process.pid, "SIGTERM");
});
