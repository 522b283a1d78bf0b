import { Langfuse } from "langfuse-edge";

import { options } from "./options.mjs";
import { program } from "./program.mjs";

export default {
  fetch: async () => Response.json(await program({ Langfuse }, options)),
};
