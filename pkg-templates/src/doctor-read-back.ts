/** Whether what was delivered can be read. */

import { setTimeout as sleep } from "node:timers/promises";

import type { Sent } from "./doctor-delivery.js";
import type { Keys } from "./doctor-environment.js";
import { ms, type Http } from "./doctor-http.js";
import { failed, notRun, ok, type Verdict } from "./doctor-report.js";

/** Reading is limited to 30 requests a minute on the smallest plan. */
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5000;

export async function readBack(http: Http, keys: Keys, { traceId, spanId }: Sent, waitMs: number): Promise<Verdict> {
  const start = performance.now();
  const left = (): number => start + waitMs - performance.now();
  let last = "it is not there";
  for (let pause = FIRST_PAUSE_MS; left() > 0; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
    const timeoutMs = Math.min(http.timeoutMs, left());
    const answer = await http.get(`v2/observations?traceId=${traceId}&limit=10`, keys, { timeoutMs });
    if ("words" in answer) {
      if (left() > 0) last = `reading fails: ${answer.words}`;
    } else if (answer.status === 200) {
      const rows = (answer.body as { data?: { id?: unknown }[] } | null | undefined)?.data ?? [];
      if (rows.some(({ id }) => id === spanId)) {
        return ok(`readable ${ms(performance.now() - start)} after it was delivered`);
      }
      last = "it is not there";
    } else if (answer.status === 404) {
      return notRun("this server has no GET /api/public/v2/observations; look for the trace in the browser");
    } else {
      last = `reading answers ${answer.status}`;
    }
    await sleep(Math.max(0, Math.min(pause, left())));
  }
  return failed(
    `delivered, but not readable within ${ms(waitMs)}: ${last}`,
    "the server has the trace and is slow to show it: look at its worker and queue if it is yours, or try a longer --wait",
  );
}
