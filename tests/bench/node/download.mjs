// What the users of a Worker of the folder `minimal` download, for `cargo xtask dist`.
import { download } from "./support/download.mjs";

console.log(JSON.stringify(await download(process.argv[2])));
