// As `floor.mjs`, sent as Node.js does with the least of its own.
import { Agent, request } from "node:http";

import * as floor from "./floor.mjs";

const agent = new Agent({ keepAlive: true });

const post = (url, body) =>
  new Promise((resolve, reject) => {
    const bytes = Buffer.from(body);
    const headers = { "content-type": "application/json", "content-length": bytes.length };
    const sent = request(url, { method: "POST", agent, headers }, (response) => response.on("end", resolve).resume());
    sent.on("error", reject).end(bytes);
  });

export const start = (target) => floor.start(target, post);
