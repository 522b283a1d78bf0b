/**
 * Why traces are missing, and what to do: the checks go the way that a trace goes, and one that needs what an earlier one has
 * not found is not run. The crate has the same program (`src/cli/doctor/`), with the same checks, order and words.
 */

import { Delivery } from "./doctor-delivery.js";
import { examineEnvironment, type Variables } from "./doctor-environment.js";
import { Http } from "./doctor-http.js";
import { reach } from "./doctor-network.js";
import { readBack } from "./doctor-read-back.js";
import { notRun, Report } from "./doctor-report.js";
import { clock, keysOf, versionOf } from "./doctor-server.js";

export interface Options {
  /** That each step on the network may take. */
  timeoutMs: number;
  /** Until the trace can be read back. */
  waitMs: number;
  /** Servers that are asked when the server does not know the keys. */
  regions: readonly string[];
}

/** What needs a server that knows the keys, and what needs any. */
const OF_DELIVERY = ["trace", "read-back", "score", "limits"];
const OF_THE_SERVER = ["keys", "clock", ...OF_DELIVERY];
const NO_SERVER = "there is no Langfuse server to ask";
const NO_TRACE = "the trace was not delivered";

export async function examine(env: Variables, options: Options): Promise<Report> {
  const { variables, verdict, server, keys, config } = examineEnvironment(env);
  const report = new Report(server, variables);
  report.add("environment", verdict);

  if (!server) {
    report.skip(["dns", "connect", "tls", "server"], "the server's URL cannot be used");
    report.skip(OF_THE_SERVER, NO_SERVER);
    return report;
  }
  const http = new Http(server, options.timeoutMs);
  const { dns, connect, tls, health } = await reach(http, env);
  report.add("dns", dns);
  report.add("connect", connect);
  report.add("tls", tls);
  if (!health) {
    report.skip(["server"], "the server cannot be reached");
    report.skip(OF_THE_SERVER, NO_SERVER);
    return report;
  }
  const version = await versionOf(http, health);
  report.add("server", version.verdict);

  const known = !keys
    ? notRun("there are no keys to check")
    : !version.isLangfuse
      ? notRun(NO_SERVER)
      : await keysOf(http, keys, options.regions);
  report.add("keys", known);
  report.add("clock", clock(health));

  if (!keys || !config || known.status !== "ok") {
    const refused = known.status === "failed" ? "the keys are not accepted" : "the environment cannot be used";
    report.skip(OF_DELIVERY, version.isLangfuse ? refused : NO_SERVER);
    return report;
  }
  const delivery = new Delivery(http, keys, config, options.timeoutMs);
  const { verdict: trace, sent } = await delivery.trace();
  report.add("trace", trace);
  report.add("read-back", sent ? await readBack(http, keys, sent, options.waitMs) : notRun(NO_TRACE));
  report.add("score", await delivery.score(sent));
  report.add("limits", sent ? await delivery.limits(sent) : notRun(NO_TRACE));
  return report;
}
