// What inputs, outputs and metadata may be.
import { at } from "./support.mjs";

export const VALUES = {
  "input and output of every JSON type": {
    run({ startObservation }) {
      const values = {
        "a string": "text",
        "a string of JSON": '{"a":1}',
        "an empty string": "",
        "unicode": "ä€😀\u2028\0",
        "a number": 1.5,
        zero: 0,
        "true": true,
        "false": false,
        "a list": [1, "two", null, [true]],
        "an empty list": [],
        "an object": { a: { b: [1, { c: null }] }, d: "e" },
        "an empty object": {},
        "null": null,
        "undefined": undefined,
      };
      for (const [name, value] of Object.entries(values)) {
        startObservation(name, { input: value, output: value, metadata: { value } }).end();
      }
    },
  },

  "values that JSON changes": {
    run({ startObservation }) {
      class Point {
        x = 1;
        #y = 2;
        get sum() {
          return this.x + this.#y;
        }
      }
      const values = {
        "a date": new Date(at(0)),
        "a date within": { at: at(0), list: [at(0)] },
        "undefined within": { a: undefined, b: [undefined] },
        "not a number": Number.NaN,
        "not a number within": [Number.NaN, Number.POSITIVE_INFINITY],
        "an instance": new Point(),
        "toJSON": { toJSON: () => ({ is: "json" }) },
        "a URL": new URL("https://example.com/a?b=c"),
        "without prototype": Object.assign(Object.create(null), { a: 1 }),
        "boxed": [Object("text"), Object(1), Object(true)],
        "a sparse list": [1, , 3],
        "a lone surrogate": { text: "\ud800" },
      };
      for (const [name, value] of Object.entries(values)) startObservation(name, { input: value }).end();
    },
  },

  "values that JSON cannot tell": {
    run({ startObservation }) {
      const circle = { name: "circle" };
      circle.self = circle;
      const values = {
        "a circle": circle,
        "a big integer": 12n,
        "a big integer within": { n: 12n },
        "an error": new TypeError("no"),
        "a map": new Map([["a", 1]]),
        "a set": new Set([1, 2]),
        "a regular expression": /x/,
        "bytes": new Uint8Array([1, 2, 3]),
        "a function": function named() {},
        "a function within": { f() {} },
        "a symbol": Symbol("s"),
        "a getter that throws": {
          ok: 1,
          get bad() {
            throw new Error("no");
          },
        },
      };
      for (const [name, value] of Object.entries(values)) startObservation(name, { input: value }).end();
    },
  },

  metadata: {
    run({ startObservation }) {
      const flat = { text: "a", number: 1, zero: 0, yes: true, no: false, empty: "", nothing: null, absent: undefined };
      startObservation("flat", { metadata: flat }).end();
      startObservation("nested", { metadata: { a: { b: { c: [1, { d: 2 }] } }, list: ["x"], empty: {}, none: [] } }).end();
      startObservation("names", { metadata: { "a.b": 1, "ä b": 2, "a-b": 3 } }).end();
      startObservation("of no names", { metadata: {} }).end();
      const merged = startObservation("merged", { metadata: { a: 1, b: { c: 1 } } });
      merged.update({ metadata: { b: { d: 2 }, e: 3 } });
      merged.update({ metadata: { a: null, e: undefined } });
      merged.end();
    },
  },

  "metadata that is no object": {
    run({ startObservation }) {
      startObservation("text", { metadata: "text" }).end();
      startObservation("number", { metadata: 5 }).end();
      startObservation("list", { metadata: ["a", "b"] }).end();
      startObservation("nothing", { metadata: null }).end();
    },
  },

  "metadata of names that Langfuse uses itself": {
    run({ startObservation }) {
      startObservation("taken", { metadata: { scope: "a", resourceAttributes: "b", attributes: "c", constructor: "d" } }).end();
    },
  },

  "a mask": {
    options: { mask: ({ data }) => data.replaceAll("secret", "***") },
    run({ startObservation }) {
      const observation = startObservation("masked", { input: "a secret", output: { a: ["secret"] } });
      observation.update({ metadata: { a: "secret" }, statusMessage: "secret" });
      observation.end();
    },
  },

  "a mask that fails": {
    options: {
      mask() {
        throw new Error("no");
      },
    },
    run: ({ startObservation }) => startObservation("masked", { input: "a secret", output: { a: 1 } }).end(),
  },
};
