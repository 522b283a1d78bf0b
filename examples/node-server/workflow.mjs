// The workflow: an article, written section by section.
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { getLlmCallbackHandler } from "langfuse-edge";

/** What a client orders. */
export function orderOf(text) {
  try {
    const { topic, sections = 3 } = JSON.parse(text);
    if (typeof topic !== "string") throw new Error("topic must be a text");
    if (!Number.isInteger(sections) || sections < 0 || sections > 255) throw new Error("sections must be a number from 0 to 255");
    return { topic, sections };
  } catch (error) {
    throw Object.assign(error, { status: 400 });
  }
}

/** Every part of it is a step, which is aborted, flushed and told of as `Run.step` says. */
export async function writeArticle(run, { topic, sections }) {
  let article = await run.step("outline", (signal) => askModel(`An outline of an article on ${topic}`, signal));
  for (let number = 1; number <= sections; number++) {
    article += await run.step(`section ${number}`, (signal) => askModel(`Section ${number} on ${topic}`, signal));
  }
  await run.step("review", (signal) => {
    if (sections === 0) throw new Error("an article needs a section");
    return askModel(`A review of an article on ${topic}`, signal);
  });
  return article;
}

/** Stands for a language model. */
async function askModel(prompt, signal) {
  const calls = getLlmCallbackHandler();
  const id = randomUUID();
  calls.onLlmStart(id, "ask_model", { model: "gpt-4o", messages: [{ role: "user", content: prompt }] });
  try {
    await sleep(100, undefined, { signal });
    const answer = `${prompt}.\n`;
    calls.onLlmEnd(id, { output: answer, usage: { input: 9, output: 9 } });
    return answer;
  } catch (error) {
    calls.onLlmError(id, signal.aborted ? signal.reason : error);
    throw error;
  }
}
