// What a program recorded, in a form that two runs have in common: without ids, and without times but those the program gave.
import assert from "node:assert/strict";

/**
 * What the receiver got, by the name of the observation: each attribute as it came over the wire, and `stored`, what Langfuse makes
 * of it all.
 */
export function normalizedRows(rows, began) {
  const names = new Map(rows.map(({ id, name }) => [id, name]));
  assert.equal(new Set(names.values()).size, rows.length, "the names of a program's observations are unique");
  const traces = rootsOfTraces(rows);
  return Object.fromEntries(
    rows.map((row) => [row.name, { said: said(row, names, traces, began), stored: stored(row, names, traces, began) }]),
  );
}

/** The traces by the name of the observation they begin with, of several the first by name; a trace of another process as it is. */
function rootsOfTraces(rows) {
  const ids = new Set(rows.map(({ id }) => id));
  const traces = new Map();
  for (const { traceId, parentObservationId, name } of rows.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    if (parentObservationId === null && !traces.has(traceId)) traces.set(traceId, `of ${name}`);
    if (parentObservationId !== null && !ids.has(parentObservationId)) traces.set(traceId, traceId);
  }
  return traces;
}

function said(row, names, traces, began) {
  const { code, message } = row.spanStatus ?? {};
  const wire = {
    trace: traces.get(row.traceId) ?? row.traceId,
    parent: names.get(row.parentObservationId) ?? row.parentObservationId ?? undefined,
    kind: row.spanKind,
    "status.code": code || undefined,
    "status.message": message || undefined,
    start: timeOf(Number(row.startTimeUnixNano) / 1e6, began),
    end: timeOf(Number(row.endTimeUnixNano) / 1e6, began),
    ...ofList(row.resource?.attributes, "resource: "),
    "scope.name": row.scope.name,
    "scope.version": /^\d+\.\d+\.\d+/.test(row.scope.version) ? "its own" : row.scope.version,
    ...ofList(row.scope.attributes, "scope: "),
    ...ofList(row.otlpAttributes, ""),
  };
  return Object.fromEntries(Object.entries(wire).filter(([, value]) => value !== undefined));
}

function ofList(list = [], prefix) {
  const byKey = Object.fromEntries(list.map(({ key, value }) => [prefix + key, plain(value)]));
  assert.equal(Object.keys(byKey).length, list.length, "no attribute comes twice");
  return byKey;
}

/** A value that keeps its type; the two encodings have numbers as texts or as numbers. */
function plain(value) {
  const [[type, content], ...others] = Object.entries(value);
  assert.deepEqual(others, []);
  switch (type) {
    case "stringValue":
      // OpenTelemetry goes on with how the program was started.
      return content.replace(/^unknown_service:.*/, "unknown_service");
    case "boolValue":
      return content;
    case "intValue":
      return { int: Number(content) };
    case "doubleValue":
      return { double: Number(content) };
    case "arrayValue":
      return (content.values ?? []).map(plain);
    default:
      return value;
  }
}

/** The columns that are nobody's but the client's, or that `said` shows. */
const NOT_STORED = [
  ...["id", "traceId", "parentObservationId", "startTime", "endTime", "createdAt", "arrival", "sdkName", "sdkVersion"],
  ...["startTimeUnixNano", "endTimeUnixNano", "spanKind", "spanStatus", "attributes", "otlpAttributes", "scope", "resource"],
];

function stored(row, names, traces, began) {
  const columns = Object.entries(row).filter(([name]) => !NOT_STORED.includes(name));
  const { trace, parent, start, end } = said(row, names, traces, began);
  const metadata = Object.entries(row.metadata).filter(([name]) => !/^(scope|resourceAttributes)\./.test(name));
  return { ...Object.fromEntries(columns), metadata: Object.fromEntries(metadata), trace, parent, start, end };
}

/** What the program did not say is of its run. */
const timeOf = (millis, began) => (millis >= began - 1000 ? "now" : new Date(millis).toISOString());

/** The scores by their names, in the same form. */
export function normalizedScores(scores, rows, began) {
  const names = new Map(rows.map(({ id, name }) => [id, name]));
  const traces = rootsOfTraces(rows);
  return Object.fromEntries(
    scores.map(({ id, name, timestamp, traceId, observationId, sdkName, ...score }) => {
      const said = {
        ...score,
        // One that the program did not give is 20 characters or more.
        id: id.length < 20 ? id : "its own",
        time: timeOf(timestamp, began),
        trace: traces.get(traceId) ?? traceId,
        observation: names.get(observationId) ?? observationId,
      };
      return [`score ${name}`, { isScore: true, said, stored: said }];
    }),
  );
}
