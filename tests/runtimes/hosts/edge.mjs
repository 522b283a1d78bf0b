import { Langfuse } from "langfuse-edge";

import { options } from "./options.mjs";
import { program } from "./program.mjs";

addEventListener("fetch", (event) => {
  event.respondWith(program({ Langfuse }, options).then((result) => new Response(JSON.stringify(result))));
});
