// A function of Vercel's Edge runtime that records, and flushes when it is told to. Its clock is ahead by what the requests ask for.
import { Langfuse } from "langfuse-edge";

// The host gives them.
const langfuse = new Langfuse(LANGFUSE_OPTIONS);
console.warn = (line) => SAID.push(line);
const { now } = Date;
let ahead = 0;
Date.now = () => now() + ahead;

async function answer({ pathname, searchParams }) {
  ahead += Number(searchParams.get("later"));
  if (pathname === "/flush") await langfuse.flush();
  else langfuse.startObservation("one").end();
  return new Response("ok");
}

addEventListener("fetch", (event) => event.respondWith(answer(new URL(event.request.url))));
