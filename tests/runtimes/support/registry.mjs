// An npm registry that has one package: what `npm pack` makes of pkg/.
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";

import { output } from "./process.mjs";

/** Packs the package at `pkg` into `folder` and offers the tarball for installation. */
export async function startRegistry(pkg, folder) {
  const [packed] = JSON.parse(await output("npm", ["pack", pkg, "--json", "--pack-destination", folder]));
  const tarball = join(folder, packed.filename);
  const manifest = JSON.parse(await readFile(join(pkg, "package.json"), "utf8"));
  const server = createServer((request, response) => {
    if (request.url === "/tarball.tgz") return void createReadStream(tarball).pipe(response);
    if (request.url !== `/${manifest.name}`) return void response.writeHead(404).end();
    const dist = { tarball: `${url}/tarball.tgz`, integrity: packed.integrity, shasum: packed.shasum };
    response.setHeader("content-type", "application/json");
    response.end(
      JSON.stringify({
        name: manifest.name,
        "dist-tags": { latest: manifest.version },
        versions: { [manifest.version]: { ...manifest, dist } },
      }),
    );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${server.address().port}`;
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  return { url, tarball, version: manifest.version, close };
}
