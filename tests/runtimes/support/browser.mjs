// Pages in headless Chromium.
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";

import { load } from "./tools.mjs";

const { chromium } = load("playwright-core");

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript" };
const TIMEOUT_MS = 30_000;

/** Starts Chromium; `open` gives the first line that a page prints, `openFile` that of a page of a folder. */
export async function startBrowser(executablePath) {
  const browser = await chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-component-update", "--disable-sync"],
  });

  async function open(url) {
    const page = await browser.newPage();
    try {
      const failed = new Promise((_, reject) => page.once("pageerror", reject));
      const printed = page.waitForEvent("console", { timeout: TIMEOUT_MS, predicate: (line) => line.type() === "log" });
      await page.goto(url);
      return (await Promise.race([printed, failed])).text();
    } finally {
      await page.close();
    }
  }

  async function openFile(folder, path) {
    const server = createServer((request, response) => {
      const file = join(folder, normalize(new URL(request.url, "http://here").pathname));
      const content = createReadStream(file);
      content.once("open", () => response.setHeader("content-type", TYPES[extname(file)] ?? "application/octet-stream"));
      content.once("error", () => response.writeHead(404).end());
      content.pipe(response);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    try {
      return await open(`http://127.0.0.1:${server.address().port}/${path}`);
    } finally {
      server.close();
      server.closeAllConnections();
    }
  }

  /** A page that has nothing but a script. */
  async function openScript(folder, path) {
    await writeFile(join(folder, "page.html"), `<!doctype html><link rel="icon" href="data:,"><script type="module" src="${path}"></script>`);
    return openFile(folder, "page.html");
  }

  return { open, openFile, openScript, version: browser.version(), close: () => browser.close() };
}
