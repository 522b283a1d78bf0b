import { once } from "node:events";
import { createServer } from "node:http";

/**
 * A server for what the receiver does not do. `answer` is called when a request's body has been read, with its text; `connections`
 * counts those that were ever opened, `open` says how many are now.
 */
export async function httpServerFor(t, answer) {
  const counts = { requests: 0, connections: 0 };
  const server = createServer(async (request, response) => {
    let body = "";
    try {
      for await (const part of request.setEncoding("utf8")) body += part;
    } catch {
      return; // The client has gone.
    }
    counts.requests++;
    answer(request, response, body);
  });
  server.on("connection", () => counts.connections++);
  const address = await addressFor(t, server);
  const open = () => new Promise((resolve, reject) => server.getConnections((error, n) => (error ? reject(error) : resolve(n))));
  return { url: `http://${address}`, counts, open };
}

/** Where a server of Node.js listens from now on, until the test ends. */
export async function addressFor(t, server) {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return `127.0.0.1:${server.address().port}`;
}

/** An address of this machine where nothing listens. */
export async function nobodyListens() {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return `http://127.0.0.1:${port}`;
}
