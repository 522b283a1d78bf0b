// The fault matrix: every scenario through every client, over real HTTP, against the committed expectations.
//
//   node tests/faults/run.mjs [--full] [scenario or client]...
//
// `--full` watches the server for 8 s after the last flush, for what arrives late.
import { setTimeout as sleep } from "node:timers/promises";

import { KEYS, startReceiver } from "../js/support/receiver.mjs";
import { until } from "../js/support/until.mjs";
import { CLIENTS } from "./clients.mjs";
import { SCENARIOS } from "./scenarios.mjs";

const args = process.argv.slice(2);
const wanted = args.filter((arg) => !arg.startsWith("--"));
const WATCH_MS = args.includes("--full") ? 8000 : 500;
/** So many cells at a time: more would disturb each other's milliseconds. */
const POOL = 3;
/** After this a flush is said to last for ever. */
const NEVER_MS = 30_000;
const ACCOUNTS = ["delivered", "rejected", "retained", "dropped"];

const range = (expected) => (Array.isArray(expected) ? expected : [expected, expected]);
const isWithin = (value, expected) => range(expected)[0] <= value && value <= range(expected)[1];
const text = (expected) => (Array.isArray(expected) ? expected.join(" to ") : `${expected}`);

/** Runs one scenario through one client; says what it saw, and in sentences what is not as required. */
async function runCell(scenario, client) {
  const problems = [];
  const flushes = [];
  const ids = [];
  const receiver = await startReceiver();
  let program;
  try {
    const fault = (fault) => receiver.fault({ delayMs: 5, ...fault });
    await fault(scenario.fault);
    const start = performance.now();
    const options = { ...KEYS, baseUrl: receiver.url, ...scenario.options?.[client] };
    const { compatibilityFlags } = scenario;
    program = await CLIENTS[client](options, { compatibilityFlags, stateUrl: `${receiver.url}/dev/state` });
    const call = async (command) => {
      const answer = await inTime(program.call(command));
      ids.push(...answer.ids);
      return answer;
    };
    await scenario.steps({
      client,
      fault,
      since: () => performance.now() - start,
      /** Until the server has got one, which may not be answered yet. */
      request: () => until(async () => (await receiver.state()).requests > 0),
      /** Until so many observations have arrived. */
      arrived: (count) => until(async () => (await receiver.state()).observations >= count),
      record: (record) => call({ record }),
      /** The next call into wasm traps. */
      trap: () => call({ trap: true }),
      forget: (command) => call({ ...command, forget: true }),
      terminate: (command) =>
        program.call(command).then(
          () => problems.push("a request that was to be terminated was answered"),
          () => {},
        ),
      cancel: async (command) => {
        const outcome = await inTime(program.cancel(command));
        if (outcome !== "cancelled") problems.push(`a request that was to be cancelled was ${outcome}`);
      },
      leave: () => inTime(program.leave()),
      async flush({ record, timeoutMs }) {
        const flush = {};
        flushes.push(flush);
        const begun = performance.now();
        const { report } = await call({ record, flush: { timeoutMs } });
        flush.ms = Math.round(performance.now() - begun);
        flush.state = await receiver.state();
        flush.report = report;
      },
    });
    const settled = await receiver.state();
    await sleep(WATCH_MS);
    const state = await receiver.state();
    const late = state.rows - settled.rows;
    const [requests, rows] = await Promise.all([receiver.requests(), receiver.rows()]);
    const reports = flushes.map(({ report }) => report);
    problems.push(...judge({ ...scenario, ...scenario.otherwise?.[client] }, { flushes, state, rows, ids }));
    try {
      scenario.check?.({ requests, rows, reports, ids });
    } catch (error) {
      problems.push(error.message);
    }
    return { flushes, state, late, problems };
  } catch (error) {
    problems.push(error.message);
    return { flushes, problems };
  } finally {
    problems.push(...((await program?.stop()) ?? []).map((line) => `the client left behind: ${line}`));
    await receiver.stop("SIGKILL");
  }
}

async function inTime(promise) {
  const timer = new AbortController();
  const never = sleep(NEVER_MS, undefined, timer).then(() => {
    throw new Error(`not settled after ${NEVER_MS / 1000} s`);
  });
  never.catch(() => {});
  return Promise.race([promise, never]).finally(() => timer.abort());
}

function judge({ events, flushes: expected, requests, duplicates = 0 }, { flushes, state, rows, ids }) {
  const problems = [];
  const require = (what, value, wanted) => {
    if (!isWithin(value, wanted)) problems.push(`${what}: ${value} instead of ${text(wanted)}`);
  };
  let delivered = 0;
  require("flushes", flushes.length, expected.length);
  for (const [index, { report, ms, state }] of flushes.entries()) {
    const wanted = expected[index] ?? {};
    const which = flushes.length === 1 ? "" : ` by flush ${index + 1}`;
    const accounts = { ...report, rejected: report.rejected.length };
    for (const account of ACCOUNTS) require(`${account}${which}`, accounts[account], wanted[account] ?? 0);
    delivered += report.delivered;
    const arrived = wanted.arrived ?? delivered;
    require(`arrived when the report came${which}`, state.observations, arrived);
    if (wanted.requests) require(`requests until then${which}`, state.requests, wanted.requests);
    require(`milliseconds${which}`, ms, wanted.ms);
    const isOk = accounts.rejected + report.retained + report.dropped === 0;
    if (report.ok !== isOk) problems.push(`ok${which}: ${report.ok}, against its own numbers`);
  }
  require("requests", state.requests, requests);
  require("duplicates", state.duplicates, duplicates);
  require("duplicates with another start time", state.duplicatesWithOtherStart, 0);

  const stored = new Set(rows.map(({ id }) => id));
  const rejected = flushes.flatMap(({ report }) => report.rejected.map(({ id }) => id));
  // A request that is cancelled or terminated does not tell what it recorded.
  require("observations nobody recorded", [...stored].filter((id) => !ids.includes(id)).length, [0, events - ids.length]);
  require("observations both rejected and stored", rejected.filter((id) => stored.has(id)).length, 0);
  return problems;
}

/** `arrived of events`, requests, duplicates, milliseconds; with several flushes, one number for each. */
function cellText({ events }, { flushes, state, late, problems }) {
  const each = (value) => flushes.map((flush) => (flush.report ? value(flush) : "-")).join(", ") || "-";
  const sum = (count) => flushes.reduce((sum, { report }) => sum + (report ? count(report) : 0), 0);
  const rejected = sum(({ rejected }) => rejected.length);
  const dropped = sum(({ dropped }) => dropped);
  const parts = [
    `${each(({ state }) => state.observations)}/${events}`,
    rejected > 0 && `${rejected} rejected`,
    dropped > 0 && `${dropped} dropped`,
    state && `${state.requests} req`,
    state && `${state.duplicates} dup`,
    late > 0 && `${late} late`,
    `${each(({ ms }) => ms)} ms`,
  ];
  return `${problems.length > 0 ? "FAILED " : ""}${parts.filter(Boolean).join(" · ")}`;
}

function printTable(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  for (const row of rows) console.log(row.map((cell, column) => cell.padEnd(widths[column])).join("  ").trimEnd());
}

const clients = Object.keys(CLIENTS);
const names = SCENARIOS.map(({ id }) => id);
const unknown = wanted.filter((name) => ![...clients, ...names].includes(name));
if (unknown.length > 0) {
  console.error(`${unknown.join(", ")}: neither a scenario (${names.join(", ")}) nor a client (${clients.join(", ")})`);
  process.exit(2);
}
/** Those that are named, or all when none is. */
const chosen = (all) => (all.some((name) => wanted.includes(name)) ? all.filter((name) => wanted.includes(name)) : all);
const scenarios = SCENARIOS.filter(({ id }) => chosen(names).includes(id));
const columns = chosen(clients);
const cells = scenarios
  .filter(({ absent }) => !absent)
  .flatMap((scenario) => columns.filter((client) => !scenario.inapplicable?.[client]).map((client) => ({ scenario, client })));

const begun = performance.now();
const results = new Map();
const waiting = [...cells];
const work = async () => {
  for (let cell = waiting.shift(); cell; cell = waiting.shift()) {
    results.set(`${cell.scenario.id} ${cell.client}`, await runCell(cell.scenario, cell.client));
  }
};
await Promise.all(Array.from({ length: POOL }, work));

const notes = new Map();
const note = (reason) => {
  if (!notes.has(reason)) notes.set(reason, `[${notes.size + 1}]`);
  return notes.get(reason);
};
printTable([
  ["arrived when flush settled", ...columns],
  ...scenarios.map((scenario) => [
    `${scenario.id.padEnd(4)} ${scenario.name}`,
    ...columns.map((client) => {
      const reason = scenario.absent ?? scenario.inapplicable?.[client];
      return reason ? note(reason) : cellText(scenario, results.get(`${scenario.id} ${client}`));
    }),
  ]),
]);
for (const [reason, mark] of notes) console.log(`${mark} ${reason}`);

const failed = cells.filter(({ scenario, client }) => results.get(`${scenario.id} ${client}`).problems.length > 0);
for (const { scenario, client } of failed) {
  console.log(`${scenario.id} (${scenario.name}) is not met by ${client}: ${results.get(`${scenario.id} ${client}`).problems.join("; ")}.`);
}
const met = cells.length - failed.length;
console.log(`${met} of ${cells.length} cells are met, in ${((performance.now() - begun) / 1000).toFixed(1)} s`);
process.exitCode = failed.length > 0 ? 1 : 0;
