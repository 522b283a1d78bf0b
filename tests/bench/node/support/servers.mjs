// The two servers, each in a process of its own, for as long as something is measured.
import { fileURLToPath } from "node:url";

import { start } from "../../../js/support/program.mjs";
import { KEYS, startReceiver } from "../../../js/support/receiver.mjs";
import { serverOf } from "../clients.mjs";

const SINK = fileURLToPath(new URL("../sink.mjs", import.meta.url));

/** `targetOf(client)` is what a client needs to know to send there. */
export async function withServers(work) {
  const receiver = await startReceiver();
  const sink = start(process.execPath, [SINK]);
  try {
    const [, url] = await sink.line(/^sink listening on (http:\S+)$/);
    const urls = { receiver: receiver.url, sink: url };
    return await work({ receiver, targetOf: (client) => ({ ...KEYS, url: urls[serverOf(client)] }) });
  } finally {
    sink.kill("SIGKILL");
    await receiver.stop("SIGKILL");
  }
}
