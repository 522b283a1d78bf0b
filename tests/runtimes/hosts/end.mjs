import { Langfuse } from "langfuse-edge";

import { options } from "./options.mjs";
import { program } from "./program.mjs";

program({ Langfuse }, options, true).then((result) => console.log(JSON.stringify(result)));
