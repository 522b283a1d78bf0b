import { readFileSync } from "node:fs";

import { init, Langfuse } from "langfuse-edge/raw";

import { options } from "./options.mjs";
import { program } from "./program.mjs";

init(new WebAssembly.Module(readFileSync(new URL(import.meta.resolve("langfuse-edge/core_bg.wasm")))));
program({ Langfuse }, options).then((result) => console.log(JSON.stringify(result)));
