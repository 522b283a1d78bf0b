import { Langfuse } from "npm:langfuse-edge";

import { options } from "./options.mjs";
import { program } from "./program.mjs";

program({ Langfuse }, options).then((result) => console.log(JSON.stringify(result)));
