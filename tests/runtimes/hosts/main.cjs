const { Langfuse } = require("langfuse-edge");

Promise.all([import("./program.mjs"), import("./options.mjs")])
  .then(([{ program }, { options }]) => program({ Langfuse }, options))
  .then((result) => console.log(JSON.stringify(result)));
