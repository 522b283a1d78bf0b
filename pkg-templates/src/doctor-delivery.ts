/** Sending through the client itself, with the variables of the environment. */

import { randomBytes } from "node:crypto";

import type { Keys } from "./doctor-environment.js";
import { ms, type Http } from "./doctor-http.js";
import { failed, ok, type Verdict } from "./doctor-report.js";
import { Langfuse, propagateAttributes, type FlushReport } from "./index.js";

/** A trace that has arrived. */
export interface Sent {
  readonly traceId: string;
  readonly spanId: string;
}

/** The name of what is sent, in Langfuse. */
const NAME = "langfuse-edge doctor";
/** What the queue holds at most. */
const QUEUE_RECORDS = 100_000;
/** In each of three fields, so that one request is nearly as large as they get. */
const LARGE_FIELD = 1_000_000;
const LARGE_BODY = 3 * LARGE_FIELD;

/** What a request without anything in it looks like: the status of the answer says what keeps the others from being taken. */
const NO_TRACES = { path: "otel/v1/traces", nothing: '{"resourceSpans":[]}' };
const NO_SCORES = { path: "ingestion", nothing: '{"batch":[]}' };

export class Delivery {
  constructor(
    readonly http: Http,
    readonly keys: Keys,
    readonly config: Record<string, string>,
    readonly timeoutMs: number,
  ) {}

  /**
   * Flushes what a client of its own records, so that none reports what another could not deliver. It keeps every trace, and
   * sends when it is told to.
   */
  async #send<T>(record: (langfuse: Langfuse) => T): Promise<{ report: FlushReport; recorded: T }> {
    const langfuse = Langfuse.fromEnv({
      ...this.config,
      LANGFUSE_SAMPLE_RATE: "1",
      LANGFUSE_FLUSH_AT: String(QUEUE_RECORDS),
      LANGFUSE_FLUSH_INTERVAL: "0",
    });
    const recorded = record(langfuse);
    const report = await langfuse.flush({ timeoutMs: this.timeoutMs });
    // Nobody needs what is left.
    langfuse.free();
    return { report, recorded };
  }

  async trace(): Promise<{ verdict: Verdict; sent?: Sent }> {
    const { report, recorded } = await this.#send((langfuse) => {
      const record = () => langfuse.startObservation(NAME, { input: "Can you hear me?" });
      const observation = propagateAttributes({ traceName: NAME }, record, { client: langfuse });
      observation.end();
      return observation;
    });
    if (!report.ok) return { verdict: await this.#undelivered(report, NO_TRACES) };
    const { traceId, id } = recorded;
    return { verdict: ok(`delivered in ${ms(report.durationMs)}, trace ${traceId}`), sent: { traceId, spanId: id } };
  }

  async score(sent: Sent | undefined): Promise<Verdict> {
    const target = sent ? { traceId: sent.traceId } : { sessionId: NAME };
    const { report } = await this.#send(({ score }) => score.create({ ...target, name: NAME, value: true }));
    return report.ok ? ok(`delivered in ${ms(report.durationMs)}`) : this.#undelivered(report, NO_SCORES);
  }

  async limits(sent: Sent): Promise<Verdict> {
    if (Number(this.config.LANGFUSE_FLUSH_AT) > QUEUE_RECORDS) {
      return failed(
        `LANGFUSE_FLUSH_AT is above the ${QUEUE_RECORDS} records that wait at most`,
        `set it to ${QUEUE_RECORDS} or less, or unset it: the oldest records would be dropped`,
      );
    }
    // Hexadecimal digits, of which compression leaves half.
    const text = randomBytes(LARGE_FIELD / 2).toString("hex");
    const { report } = await this.#send((langfuse) =>
      langfuse
        .startObservation("a large observation", { input: text, output: text, metadata: { large: text } }, { parentSpanContext: sent })
        .end(),
    );
    // Each attempt that is not the whole of it is of what was left after the server refused its size.
    const isCut = report.bytes < report.attempts * LARGE_BODY;
    if (!report.ok && !isCut) return this.#undelivered(report, NO_TRACES);
    if (isCut) {
      return failed(
        "no request of 3 MB is taken: large observations lose input and output",
        "let the proxy in front of the server pass bodies of 4 MB (in nginx: client_max_body_size 4m)",
      );
    }
    return ok(`a request of 3 MB is taken (${ms(report.durationMs)}); ${QUEUE_RECORDS} records may wait`);
  }

  /** Why a flush has not delivered all it had. */
  async #undelivered(report: FlushReport, { path, nothing }: typeof NO_TRACES): Promise<Verdict> {
    const { attempts, requests, durationMs } = report;
    const [rejection] = report.rejected;
    if (rejection) {
      return failed(`the server refuses it with ${rejection.status}: ${rejection.message}`, fix(rejection.status));
    }
    if (!requests) {
      return failed(
        `no answer within ${ms(durationMs)}, attempts: ${attempts}`,
        "look for a proxy or firewall that holds POST requests back, or try a longer --timeout",
      );
    }
    const status = await this.http.post(path, this.keys, nothing);
    if (status && status >= 400) {
      return failed(`POST /api/public/${path} answers ${status}, attempts: ${attempts}`, fix(status));
    }
    return failed(
      `not taken within ${ms(durationMs)}, attempts: ${attempts}`,
      "the server takes requests now and then: look at its logs, or try again",
    );
  }
}

function fix(status: number): string {
  if (status >= 500) return "the server or its storage is away: look at its logs, or try again later";
  switch (status) {
    case 401:
      return "copy both keys again from the project's settings";
    case 403:
      return "look at the usage of your plan, at whose end Langfuse takes no more, and use keys of a project";
    case 404:
    case 405:
      return "let the proxy in front of the server pass POST requests to /api/public, or update the server";
    case 413:
      return "let the proxy in front of the server pass larger bodies";
    case 429:
      return "the rate limit of your plan is reached: try again in a minute";
    default:
      return "look at the server's logs";
  }
}
