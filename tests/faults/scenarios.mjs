// What delivery has to survive, and the numbers that are required of it.
//
// A scenario has the server's `fault` before the client is made, the client's `options`, and the `steps` that are
// taken. `flushes` is what is required of each flush, in the order in which they begin: the accounts of its report
// (what is not named is 0), `ms` from the call to the report, and `arrived`, how many observations the server has at
// that moment (the sum of what the reports say to be delivered, unless said). `requests` are all POSTs until then, or
// until the end.
// A number is exact, `[low, high]` is a range. `check` looks at what the server saw. `otherwise` replaces requirements
// for one client, `inapplicable` says why a client has no cell, `absent` why none has.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

const SOON = [0, 2000];
/** A Worker's lease lasts for the client's timeout and 2 s: with a timeout of 1 s, records of a dead request are free after 3 s. */
const SHORT_TIMEOUT = { timeout: 1 };
const UNTIL_LEASE_EXPIRES = [0, 4500];

const ONLY_IN_WORKERS = {
  native: "a flush runs on the client's own thread, which no caller ends",
  node: "nothing ends a flush but the process",
};

const recordAndFlush = ({ flush }) => flush({ record: { count: 40 } });

/** A first answer that is a failure. */
const oneRetry = (id, name, fault) => ({
  id,
  name,
  fault: { ...fault, first: 1 },
  events: 40,
  steps: recordAndFlush,
  flushes: [{ delivered: 40, ms: SOON }],
  requests: 2,
  check({ requests: [first, second] }) {
    assert.deepEqual(second.observationIds, first.observationIds, "the second request has the same ids");
  },
});

/** An answer that says that no request can succeed. The probe comes after 30 s: tests/it, in fake time. */
const misconfigured = (id, name, more) => ({
  id,
  name,
  events: 40,
  async steps({ flush }) {
    await flush({ record: { count: 40 } });
    await flush({});
  },
  flushes: [{ retained: 40, ms: SOON }, { retained: 40, ms: SOON }],
  requests: 1,
  ...more,
});

export const SCENARIOS = [
  {
    id: "F1",
    name: "happy",
    events: 40,
    steps: recordAndFlush,
    flushes: [{ delivered: 40, ms: SOON }],
    requests: 1,
  },
  {
    id: "F2",
    name: "in flight",
    fault: { delayMs: 300 },
    options: { native: { flushAt: 20 } },
    events: 20,
    // Packages for request-driven hosts send nothing by themselves, so there the batch is on its way by another flush.
    async steps({ client, record, flush, request }) {
      const first = client === "native" ? record({ count: 20 }) : flush({ record: { count: 20 } });
      await request();
      await flush({});
      await first;
    },
    flushes: [{ delivered: 20, arrived: 20, ms: [100, 2000] }],
    otherwise: {
      node: { flushes: [{ delivered: 20, arrived: 20, ms: [250, 2000] }, { delivered: 20, arrived: 20, ms: [100, 2000] }] },
      workerd: { flushes: [{ delivered: 20, arrived: 20, ms: [250, 2000] }, { delivered: 20, arrived: 20, ms: [100, 2000] }] },
    },
    requests: 1,
  },
  oneRetry("F3", "first 503", { status: 503 }),
  oneRetry("F4", "first 500", { status: 500 }),
  oneRetry("F5", "first reset", { reset: true }),
  {
    ...oneRetry("F6", "429, Retry-After: 2", { status: 429, retryAfter: "2" }),
    flushes: [{ delivered: 40, ms: [2000, 4000] }],
    check({ requests: [first, second] }) {
      assert.deepEqual(second.observationIds, first.observationIds, "the second request has the same ids");
      between(second.atMs - first.atMs, 2000, 3500, "milliseconds until the second request");
    },
  },
  {
    id: "F7",
    name: "413",
    fault: { maxBodyBytes: 204_800 },
    events: 80,
    async steps({ flush }) {
      await flush({ record: { count: 40, bytes: 20_000 } });
      await flush({ record: { count: 40, bytes: 20_000 } });
    },
    flushes: [{ delivered: 40, requests: [5, 16], ms: [0, 5000] }, { delivered: 40, ms: [0, 5000] }],
    requests: [10, 32],
    check({ requests, ids }) {
      const ofSecondRound = requests.filter(({ observationIds }) => ids.indexOf(observationIds[0]) >= 40);
      assert.ok(ofSecondRound.every(({ status }) => status === 200), "the second round meets no 413");
    },
  },
  {
    id: "F8",
    name: "poison",
    fault: { maxBodyBytes: 204_800 },
    events: 40,
    steps: ({ flush }) => flush({ record: { count: 40, odd: { at: 5, bytes: 1_000_000 } } }),
    flushes: [{ delivered: 40, ms: [0, 5000] }],
    requests: [2, 16],
    check({ rows, ids }) {
      const poison = rows.find(({ id }) => id === ids[5]);
      const { input, providedModelName, usageDetails, metadata } = poison;
      assert.deepEqual([input, providedModelName, usageDetails.input, usageDetails.output], [null, "gpt-4o", 512, 128]);
      assert.match(JSON.stringify(metadata), /too large for the server/);
      assert.ok(rows.every(({ id, input }) => id === poison.id || input.length === 10), "the others are whole");
    },
  },
  {
    id: "F8b",
    name: "poison to the core",
    fault: { maxBodyBytes: 204_800 },
    events: 40,
    steps: ({ flush }) => flush({ record: { count: 40, odd: { at: 5, metadataBytes: 1_000_000 } } }),
    flushes: [{ delivered: 39, rejected: 1, ms: [0, 5000] }],
    requests: [2, 16],
    check({ reports: [{ rejected }], ids }) {
      assert.deepEqual(rejected.map(({ id, status }) => [id, status]), [[ids[5], 413]]);
    },
  },
  {
    id: "F9",
    name: "hang, then healed",
    fault: { hang: true },
    events: 40,
    async steps({ flush, fault }) {
      await flush({ record: { count: 40 }, timeoutMs: 5000 });
      await fault({});
      await flush({});
    },
    flushes: [{ retained: 40, requests: 1, ms: [0, 5500] }, { delivered: 40, ms: SOON }],
    requests: 2,
  },
  {
    id: "F10",
    name: "burst",
    fault: { delayMs: 20 },
    events: 5000,
    steps: ({ flush }) => flush({ record: { count: 5000 } }),
    flushes: [{ delivered: 5000, ms: [0, 10_000] }],
    // A long-lived process sends from 100 observations on, and what has arrived before the call is in no report.
    otherwise: { native: { flushes: [{ delivered: [1, 5000], arrived: 5000, ms: [0, 10_000] }] } },
    requests: [1, 50],
  },
  {
    id: "F11",
    name: "outage of 4 s",
    fault: { status: 503, forMs: 4000 },
    events: 40,
    async steps({ flush, since }) {
      await flush({ record: { count: 40 } });
      await sleep(Math.max(0, 4300 - since()));
      await flush({});
    },
    // Either within the first flush or by the second one.
    flushes: [
      { delivered: [0, 40], retained: [0, 40], arrived: [0, 40], ms: [0, 25_500] },
      { delivered: [0, 40], arrived: 40, ms: SOON },
    ],
    requests: [2, 20],
    check({ reports: [first, second] }) {
      assert.ok(first.delivered + first.retained === 40 && second.delivered === first.retained);
    },
  },
  {
    id: "F12",
    name: "two flushes",
    fault: { delayMs: 300 },
    events: 20,
    async steps({ flush }) {
      const first = flush({ record: { count: 10 } });
      await sleep(20);
      await flush({ record: { count: 10 } });
      await first;
    },
    flushes: [{ delivered: 10, arrived: [10, 20], ms: [250, 2000] }, { delivered: 20, arrived: 20, ms: [250, 2000] }],
    requests: 2,
  },
  {
    id: "F13",
    name: "many batches",
    // The size of a batch is no option, so the server's limit makes it about 20 observations.
    fault: { delayMs: 300, maxBodyBytes: 18_000 },
    events: 200,
    steps: ({ flush }) => flush({ record: { count: 200, bytes: 500 } }),
    flushes: [{ delivered: 200, ms: [1000, 12_000] }],
    requests: [10, 40],
  },
  {
    id: "F14",
    name: "429, Retry-After: 60",
    fault: { status: 429, retryAfter: "60" },
    events: 40,
    async steps({ flush }) {
      await flush({ record: { count: 40 }, timeoutMs: 5000 });
      await flush({ timeoutMs: 5000 });
    },
    flushes: [{ retained: 40, ms: [0, 5500] }, { retained: 40, ms: [0, 5500] }],
    requests: 1,
  },
  {
    id: "F15",
    name: "partial acceptance",
    fault: {
      route: "ingestion",
      eventErrors: [
        { name: "refused", status: 400, message: "not like that" },
        { name: "later", status: 500, message: "not now" },
      ],
      first: 1,
    },
    events: 10,
    steps: ({ flush }) => flush({ record: { count: 10, scores: ["one", "refused", "two", "later", "three"] } }),
    flushes: [{ delivered: 14, rejected: 1, arrived: 10, ms: SOON }],
    requests: 3,
    check({ requests: [observations, first, second], reports: [{ rejected }] }) {
      assert.equal(observations.observationIds.length, 10);
      assert.deepEqual(first.scoreIds, ["one", "refused", "two", "later", "three"]);
      assert.deepEqual(second.scoreIds, ["later"], "only what failed for now is sent again");
      assert.deepEqual(rejected, [{ id: "refused", status: 400, message: "not like that" }]);
    },
  },
  {
    id: "F16",
    name: "400 for one of them",
    fault: { rejectNames: ["bad"] },
    events: 40,
    steps: ({ flush }) => flush({ record: { count: 40, odd: { at: 5, name: "bad" } } }),
    flushes: [{ delivered: 39, rejected: 1, ms: [0, 5000] }],
    // The whole, then two halves of each half that has the bad one: log2(40) is 5.3.
    requests: [2, 13],
    check({ reports: [{ rejected }], ids }) {
      assert.deepEqual(rejected.map(({ id, status }) => [id, status]), [[ids[5], 400]]);
      assert.match(rejected[0].message, /bad/);
    },
  },
  misconfigured("F17a", "401", {
    options: Object.fromEntries(["native", "node", "workerd"].map((client) => [client, { secretKey: "sk-lf-wrong" }])),
  }),
  misconfigured("F17b", "403", { fault: { status: 403 } }),
  misconfigured("F17c", "404", { fault: { status: 404 } }),
  {
    id: "F18",
    name: "cancelled request",
    fault: { hang: true, first: 1 },
    options: { workerd: SHORT_TIMEOUT },
    events: 40,
    async steps({ cancel, flush }) {
      await cancel({ record: { count: 40 }, flush: {} });
      await flush({});
    },
    flushes: [{ delivered: 40, ms: UNTIL_LEASE_EXPIRES }],
    requests: 2,
    check({ requests: [first, second] }) {
      assert.deepEqual(second.observationIds, first.observationIds, "the second request has the same ids");
    },
    inapplicable: ONLY_IN_WORKERS,
  },
  {
    id: "F19",
    name: "no waitUntil",
    fault: { delayMs: 300 },
    options: { workerd: SHORT_TIMEOUT },
    events: 50,
    async steps({ forget, flush }) {
      await forget({ record: { count: 40 } });
      await flush({ record: { count: 10 } });
    },
    flushes: [{ delivered: 50, ms: UNTIL_LEASE_EXPIRES }],
    requests: [2, 3],
    // The host ends a request whose answer is on its way.
    duplicates: [0, 40],
    inapplicable: ONLY_IN_WORKERS,
  },
  {
    id: "F20",
    name: "client gone mid-stream",
    compatibilityFlags: ["nodejs_compat"],
    events: 2,
    async steps({ leave, arrived, flush }) {
      await leave();
      // By the flush that the invocation registers itself.
      await arrived(2);
      await flush({});
    },
    flushes: [{ arrived: 2, ms: SOON }],
    requests: [1, 2],
    check({ rows }) {
      const [answer, request] = ["answer", "GET /"].map((name) => rows.find((row) => row.name === name));
      assert.match(answer.output, /^(more )+$/, "the partial output");
      assert.equal(answer.parentObservationId, request.id);
      assert.deepEqual([answer.level, request.level], ["WARNING", "WARNING"]);
    },
    inapplicable: ONLY_IN_WORKERS,
  },
  {
    id: "F21",
    name: "termination",
    options: { workerd: SHORT_TIMEOUT },
    // What is there to end a request with.
    compatibilityFlags: ["nodejs_compat"],
    events: 40,
    async steps({ terminate, flush }) {
      await terminate({ record: { count: 10 }, terminated: "after the flush began" });
      await terminate({ record: { count: 10 }, terminated: "below a wasm frame" });
      await flush({ record: { count: 20 } });
    },
    flushes: [{ delivered: 40, ms: UNTIL_LEASE_EXPIRES }],
    requests: [1, 4],
    duplicates: [0, 20],
    inapplicable: { native: "ending the program ends all of it", node: "ending the program ends all of it" },
  },
  {
    id: "F22",
    name: "trap",
    events: 80,
    async steps({ record, trap, flush }) {
      await record({ count: 40 });
      await trap();
      await flush({ record: { count: 40 } });
      await flush({});
    },
    flushes: [{ delivered: 40, dropped: 40, ms: SOON }, { ms: SOON }],
    requests: 1,
    check({ reports: [{ dropReasons }] }) {
      assert.deepEqual(dropReasons, { state_lost: 40 });
    },
    inapplicable: { native: "there is no wasm instance to lose" },
  },
  { id: "F23", name: "memory", absent: "minutes long, so it is told in fake time, in tests/it/bounds.rs; its one warning in tests/native/bounds.rs and tests/js/queue-bound.test.mjs" },
];

export function between(value, low, high, what) {
  assert.ok(low <= value && value <= high, `${what}: ${value} instead of ${low} to ${high}`);
}
