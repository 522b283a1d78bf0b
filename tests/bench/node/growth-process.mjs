// Our client in a process of its own: CPU time per observation, recording and sending, while one quantity is what it is told to be.
import { payload } from "./payload.mjs";
import { spentMicros } from "./support/cpu.mjs";

const { start } = await import("./clients/edge.mjs");
const { target, waiting = 100, bytes = 200, attributes = 1, requests = 1, total } = JSON.parse(process.argv[2]);
const { langfuse } = start(target);
const { messages, reply } = payload(bytes);
const metadata = Object.fromEntries(Array.from({ length: attributes }, (_, index) => [`name${index}`, index]));

const record = () => langfuse.startObservation("answer", { input: messages, output: reply, metadata }, { asType: "generation" }).end();

/** Records `waiting` observations, by so many requests at the same time, each of which flushes what it has recorded. */
async function round() {
  await Promise.all(
    Array.from({ length: requests }, async () => {
      for (let done = 0; done < waiting / requests; done++) record();
      await langfuse.flush();
    }),
  );
}

const rounds = Math.max(1, Math.round(total / waiting));
for (let done = 0; done < rounds; done++) await round();
const before = spentMicros();
for (let done = 0; done < rounds; done++) await round();
console.log(JSON.stringify({ micros: (spentMicros() - before) / (rounds * waiting) }));
process.exit();
