/** What the server is, whether it knows the keys, and what time it has. */

import type { Keys } from "./doctor-environment.js";
import { ms, type Answer, type Failure, type Http } from "./doctor-http.js";
import { failed, notRun, ok, type Verdict } from "./doctor-report.js";

/** Where a project of Langfuse Cloud may be. */
export const CLOUD: readonly string[] = [
  "https://cloud.langfuse.com",
  "https://us.cloud.langfuse.com",
  "https://jp.cloud.langfuse.com",
  "https://hipaa.cloud.langfuse.com",
];
/** The first that takes OpenTelemetry's traces. */
const OLDEST_MAJOR = 3;
/** Less is of no consequence. */
const MOST_SKEW_MS = 30_000;

/** The verdict, and whether what answers is a Langfuse server that can be asked more. */
export async function versionOf(http: Http, health: Answer | Failure): Promise<{ verdict: Verdict; isLangfuse: boolean }> {
  if ("words" in health) {
    const fix = "check that LANGFUSE_BASE_URL leads to Langfuse, with http or https as the port speaks it";
    return { verdict: failed(`no answer: ${health.words}`, fix), isLangfuse: false };
  }
  const { status, body, location, elapsedMs } = health;
  const said = (body as { version?: unknown } | null | undefined)?.version;
  const version = typeof said === "string" ? said : undefined;
  const isLangfuse = status === 200 && version !== undefined;
  const verdict = async (): Promise<Verdict> => {
    if (isLangfuse) {
      if (/^\d+(\.|$)/.test(version) && parseInt(version) < OLDEST_MAJOR) {
        return failed(`Langfuse ${version} takes no OpenTelemetry traces`, "update the server to Langfuse 4, or at least 3");
      }
      return ok(`Langfuse ${version}, write mode ${await writeMode(http)} (${ms(elapsedMs)})`);
    }
    if (status >= 300 && status < 400) {
      return failed(
        `it redirects to ${location ?? "nowhere"}`,
        "set LANGFUSE_BASE_URL to where it leads: redirects are not followed, because a POST would lose its body",
      );
    }
    if (status >= 500) {
      return failed(`it answers ${status}`, "the server or its database is not ready: look at its logs, or try again later");
    }
    return failed(
      `what answers is no Langfuse server: /api/public/health gives ${status} without a version`,
      "set LANGFUSE_BASE_URL to the address of Langfuse in the browser, with its path if it has one, without /api",
    );
  };
  return { verdict: await verdict(), isLangfuse };
}

/** A server that takes traces by OpenTelemetry only says so on the routes that it has no more, before it looks at keys. */
async function writeMode(http: Http): Promise<string> {
  const answer = await http.get("traces?limit=1");
  if ("words" in answer) return "unknown";
  const { message } = (answer.body ?? {}) as { message?: unknown };
  if (answer.status === 404 && typeof message === "string" && message.includes("events_only")) return "events_only";
  return answer.status === 401 || answer.status === 403 ? "legacy or dual" : "unknown";
}

export async function keysOf(http: Http, keys: Keys, regions: readonly string[]): Promise<Verdict> {
  const answer = await http.get("projects", keys);
  if ("words" in answer) return failed(`no answer: ${answer.words}`, "try again, or with a longer --timeout");
  if (answer.status === 200) {
    const name = (answer.body as { data?: { name?: unknown }[] } | null | undefined)?.data?.[0]?.name;
    return typeof name === "string"
      ? ok(`of the project ${name}`)
      : failed("they belong to no project", "make new keys in the settings of a project");
  }
  if (answer.status === 401) return unknownHere(http, keys, regions);
  if (answer.status === 403) {
    return failed(
      "they may not be used for a project (403)",
      "use keys of the settings of a project, not of an organization",
    );
  }
  return failed(`the server answers ${answer.status}`, "look at the server's logs, or try again later");
}

async function unknownHere(http: Http, keys: Keys, regions: readonly string[]): Promise<Verdict> {
  const copy = "copy both keys again from the project's settings";
  const unknown = "the server does not know them (401)";
  if (!regions.length) {
    return failed(unknown, `${copy}; keys are good for one region only, and --regions tries the others of Langfuse Cloud`);
  }
  const others = regions.filter((region) => region !== http.server);
  for (const server of others) {
    const answer = await http.get("projects", keys, { server });
    if ("status" in answer && answer.status === 200) {
      return failed(`${unknown}, but ${server} does`, `set LANGFUSE_BASE_URL=${server}`);
    }
  }
  return failed(`${unknown}, and none of the others does: ${others.join(", ")}`, copy);
}

export function clock(health: Answer | Failure): Verdict {
  const ahead = "words" in health ? undefined : health.clockAheadMs;
  if (ahead === undefined) return notRun("the server tells no time");
  if (Math.abs(ahead) <= MOST_SKEW_MS) return ok("agrees with the server's");
  const direction = ahead > 0 ? "behind" : "ahead of";
  return failed(
    `this machine's clock is ${Math.floor(Math.abs(ahead) / 1000)} s ${direction} the server's`,
    "let NTP set it: observations are shown at the time that this machine has, and searches by time miss them",
  );
}
