// Lines of a log and of the console in workerd, where many requests share a console.
import assert from "node:assert/strict";
import { test } from "node:test";

import { supportedCompatibilityDate as NEWEST } from "miniflare";

import { receiverFor } from "./support/receiver.mjs";
import { until } from "./support/until.mjs";
import { bundle, isComplaint, workersFor } from "./support/workerd.mjs";

const worker = await bundle(new URL("workerd/logs.mjs", import.meta.url), ["./options.mjs"]);

for (const { compatibilityFlags, hasContext } of [
  { compatibilityFlags: ["nodejs_compat"], hasContext: true },
  { compatibilityFlags: [], hasContext: false },
]) {
  test(`logs in workerd ${hasContext ? "with nodejs_compat" : "without AsyncLocalStorage"}`, async (t) => {
    const receiver = await receiverFor(t);
    const options = { type: "ESModule", path: "options.mjs", contents: `export default ${JSON.stringify({ client: receiver.options })}` };
    const { url, lines } = await workersFor(t, { compatibilityDate: NEWEST, compatibilityFlags }, [{ modules: [...worker, options] }]);
    const call = async (what, name) => {
      const report = await (await fetch(new URL(`${what}?name=${name}`, url))).json();
      assert.ok(report.ok, JSON.stringify(report));
    };

    await t.test("lines are events below the step of their own request", async () => {
      const names = Array.from({ length: 10 }, (_, n) => `request-${n}`);
      await Promise.all(names.map((name) => call("lines", name)));
      const rows = await receiver.rows();
      for (const name of names) {
        const { id } = rows.find((row) => row.name === name);
        const below = rows.filter((row) => row.parentObservationId === id);
        const expected = hasContext
          ? [`begin ${name}: DEFAULT`, `${name} is slow: WARNING`, `TypeError: ${name} fails: ERROR`, `end ${name}: DEBUG`]
          : [`end ${name}: DEBUG`];
        assert.deepEqual(below.map((row) => `${row.name}: ${row.level}`).toSorted(), expected.toSorted());
        assert.ok(below.every(({ type }) => type === "EVENT"));
        const begin = rows.find((row) => row.name === `begin ${name}`);
        assert.deepEqual([begin.metadata.name, begin.parentObservationId], [name, hasContext ? id : null]);
      }
      assert.equal(rows.length, names.length * (hasContext ? 5 : 3));
    });

    await t.test("outside of a step a line of the log is a trace of its own, and one of the console is printed only", async () => {
      await receiver.reset();
      await call("outside", "one");
      const rows = await receiver.rows();
      assert.deepEqual(rows.map(({ name, level, parentObservationId }) => [name, level, parentObservationId]), [["alone one", "ERROR", null]]);
    });

    await t.test("the console prints as ever, each line once", async () => {
      const printed = (text) => lines.filter((line) => line.includes(text)).length;
      await until(() => printed("nowhere one"));
      for (const text of ["request-7 is slow", "TypeError: request-7 fails", "nowhere one"]) assert.equal(printed(text), 1, text);
      assert.equal(printed("not captured"), 10);
    });

    assert.deepEqual(lines.filter(isComplaint), []);
  });
}
