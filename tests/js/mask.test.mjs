// What is hidden before it is recorded: where masks apply, what `maskPatterns` finds, and that a failing mask hides all.
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Langfuse, maskPatterns, observe, propagateAttributes, startObservation } from "langfuse-edge";

import { observed } from "./support/observed.mjs";
import { variablesFor } from "./support/receiver.mjs";

const { client, receiver, rows } = observed();

const HIDDEN = "<fully masked due to failed mask function>";
const SECRET = "s3cr3t";
const hideSecret = ({ data }) => data.replaceAll(SECRET, "***");

describe("a mask", () => {
  test("sees every text of the user's: input, output, metadata at any depth, status message, tags, trace metadata", async () => {
    await client({ mask: hideSecret });
    propagateAttributes({ tags: [`tag ${SECRET}`], metadata: { trace: `of ${SECRET}` } }, () => {
      startObservation("one", {
        input: { deep: [{ er: `in ${SECRET}` }] },
        output: `out ${SECRET}`,
        statusMessage: `status ${SECRET}`,
        metadata: { flat: SECRET, nested: { list: [SECRET, new Map([["k", SECRET]])] }, error: new Error(SECRET) },
      })
        .update({ metadata: { later: SECRET } })
        .end();
    });
    const { one } = await rows();
    assert.deepEqual([one.input, one.output, one.statusMessage, one.tags], ['{"deep":[{"er":"in ***"}]}', "out ***", "status ***", ["tag ***"]]);
    assert.deepEqual([one.metadata.flat, one.metadata.later, one.metadata.trace], ["***", "***", "of ***"]);
    assert.ok(!JSON.stringify(await receiver().rows()).includes(SECRET));
  });

  test("sees what is observed: arguments, results, the parts of streams, errors", async () => {
    await client({ mask: hideSecret });
    observe((text) => text, { name: "value" })(SECRET);
    [...observe(function* () { yield SECRET.slice(0, 3); yield SECRET.slice(3); }, { name: "parts" })()];
    await assert.rejects(observe(async () => { throw new Error(SECRET); }, { name: "error" })());
    const { value, parts, error } = await rows();
    assert.deepEqual([value.input, value.output, parts.output, error.statusMessage, error.output], ["***", "***", "***", "***", '{"error":"Error: ***"}']);
  });

  test("gets a string as it is and anything else as JSON, one text at a time, and may make it any string", async () => {
    const seen = [];
    await client({ mask: ({ data }) => (seen.push(data), "") });
    startObservation("one", { input: "text", output: { a: 1 }, metadata: { m: [1] }, statusMessage: "s" }).end();
    const { one } = await rows();
    assert.deepEqual(seen.toSorted(), ["[1]", "s", "text", '{"a":1}']);
    assert.deepEqual([one.input, one.metadata.m], ["", ""]);
  });

  test("that throws, or gives no string, hides everything", async () => {
    const failing = {
      throws: () => { throw new Error(SECRET); },
      "gives a promise": async ({ data }) => data,
      "gives nothing": () => {},
      "gives an object": ({ data }) => ({ data }),
    };
    for (const [name, mask] of Object.entries(failing)) {
      await client({ mask });
      propagateAttributes({ tags: [SECRET], metadata: { t: SECRET } }, () =>
        startObservation(name, { input: SECRET, output: SECRET, statusMessage: SECRET, metadata: { m: SECRET } }).end(),
      );
      const row = (await rows())[name];
      assert.deepEqual([row.input, row.output, row.statusMessage, row.metadata.m, row.metadata.t, row.tags], [...Array(5).fill(HIDDEN), [HIDDEN]], name);
      assert.ok(!JSON.stringify(row).includes(SECRET));
    }
  });

  test("of one client is not another's", async () => {
    const masked = await client({ mask: hideSecret });
    const open = new Langfuse(receiver().options);
    startObservation("open", { input: SECRET }, { client: open }).end();
    startObservation("masked", { input: SECRET }).end();
    await open.flush();
    const row = await rows(masked);
    assert.deepEqual([row.open.input, row.masked.input], [SECRET, "***"]);
  });

  test("comes with the environment as well", async () => {
    const env = variablesFor(receiver().url);
    const langfuse = Langfuse.fromEnv(env, { mask: hideSecret });
    langfuse.startObservation("one", { input: SECRET }).end();
    assert.equal((await rows(langfuse)).one.input, "***");
  });

  test("that is no function is an error when the client is made", () => {
    for (const mask of ["email", {}, true, false, 0, "", [maskPatterns("email")]]) {
      assert.throws(() => new Langfuse({ ...receiver().options, mask }), /^Error: langfuse-edge: mask must be a function/);
    }
    for (const mask of [undefined, null]) new Langfuse({ ...receiver().options, mask }).free();
  });
});

describe("maskPatterns", () => {
  const mask = (data, ...names) => maskPatterns(...names)({ data });

  test("e-mail addresses", () => {
    for (const [text, masked] of [
      ["ann@example.com", "[email]"],
      ["To: Ann <ann.o+tag@mail.example.co.uk>, bob_1@x.io.", "To: Ann <[email]>, [email]."],
      ['{"to":"ann@example.com","n":1}', '{"to":"[email]","n":1}'],
      ["jürgen@müller.de", "[email]"],
      [`${"x".repeat(100)}@example.com`, "[email]"],
      ["mailto:a@b.co?subject=x", "mailto:[email]?subject=x"],
      ["a@b", "a@b"],
      ["@example.com", "@example.com"],
      ["git@v1", "git@v1"],
    ]) {
      assert.equal(mask(text, "email"), masked);
    }
  });

  test("keys and tokens", () => {
    const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U";
    for (const key of [
      "sk-proj-abcdefghijklmnop1234567890",
      "sk-ant-api03-abcdefghijklmnop",
      "sk-lf-1234567890-abcdef-1234",
      "pk_live_abcdefghijklmnop1234",
      "AKIAIOSFODNN7EXAMPLE",
      `ghp_${"a1".repeat(18)}`,
      `github_pat_${"a1".repeat(30)}`,
      "glpat-abcdefghijklmnopqrst",
      "xoxb-1234567890-abcdefghij",
      `AIza${"x".repeat(35)}`,
      `hf_${"x".repeat(34)}`,
      `npm_${"x".repeat(36)}`,
      jwt,
    ]) {
      for (const around of [(key) => key, (key) => `Bearer ${key}`, (key) => `{"key":"${key}"}`, (key) => `a-${key}, b`]) {
        assert.equal(mask(around(key), "key"), around("[key]"), key);
      }
    }
    for (const text of ["sk-short", "task-force-of-sixteen-people", "eyJ", "ghp_x"]) assert.equal(mask(text, "key"), text);
  });

  test("a private key, in a text and in JSON", () => {
    const pem = `-----BEGIN RSA PRIVATE KEY-----\n${"MIIEow+/x=".repeat(6)}\n-----END RSA PRIVATE KEY-----`;
    for (const text of [pem, JSON.stringify({ pem, other: 1 })]) {
      const masked = mask(text, "key");
      assert.ok(!masked.includes("MIIE"), masked);
    }
    assert.deepEqual(JSON.parse(mask(JSON.stringify({ pem, other: 1 }), "key")), { pem: "[key]", other: 1 });
  });

  test("card numbers, by their checksum", () => {
    for (const [text, masked] of [
      ["4111111111111111", "[card]"],
      ["4111 1111 1111 1111", "[card]"],
      ["5500-0000-0000-0004", "[card]"],
      ["amex 378282246310005.", "amex [card]."],
      ["diners 30569309025904", "diners [card]"],
      ["old visa 4222222222222", "old visa [card]"],
      ["19 digits: 6304000000000000000", "19 digits: [card]"],
      ["12 4111 1111 1111 1111 99", "12 [card] 99"],
      ["4111111111111111 5500000000000004", "[card] [card]"],
      ["4111111111111112", "4111111111111112"],
      ['{"at":1700000000000,"n":0.4111111111111111}', '{"at":1700000000000,"n":0.4111111111111111}'],
      ["411111111111", "411111111111"],
      ["id4111111111111111", "id4111111111111111"],
    ]) {
      assert.equal(mask(text, "card"), masked, text);
    }
  });

  test("JSON stays JSON", () => {
    for (const value of ["\u0000\u001f\ud800\udfff \\u0041 \\n \\\\ \"", { "a\nb": ["\\", "\b\f\r"] }]) {
      assert.equal(mask(JSON.stringify([value])), JSON.stringify([value]));
    }
    const value = { text: "line\nann@example.com\tbob@example.com\\carl@example.com\u0007dora@example.com", path: "C:\\new@example.com", quote: '"eve@example.com"' };
    const masked = JSON.parse(mask(JSON.stringify(value), "email"));
    assert.deepEqual(masked.text, "line\n[email]\t[email]\\[email]\u0007[email]");
    assert.equal(masked.quote, '"[email]"');
    const secrets = ["4111 1111 1111 1111", "sk-abcdefghijklmnop1234", "ann@example.com"];
    for (const secret of secrets) {
      for (const before of ["\n", "\t", "\\", '"', "\u0007", "\ud800"]) {
        const [text] = JSON.parse(mask(JSON.stringify([`${before}${secret}`])));
        assert.match(text.slice(before.length), /^\[\w+\]$/, JSON.stringify(before));
        assert.equal(text.slice(0, before.length), before);
      }
    }
    assert.ok(!mask("CORP\\john@example.com and CORP\\ursula@example.com", "email").includes("@"));
  });

  test("several at a time, and all without a name", () => {
    const text = "ann@example.com 4111111111111111 AKIAIOSFODNN7EXAMPLE";
    assert.equal(mask(text, "email", "key", "card"), "[email] [card] [key]");
    assert.equal(mask(text), "[email] [card] [key]");
    assert.equal(mask(text, "card"), "ann@example.com [card] AKIAIOSFODNN7EXAMPLE");
  });

  test("a name that is none is an error that names it and the others", () => {
    assert.throws(() => maskPatterns("email", "phone"), /phone is none of email, key, card/);
    assert.throws(() => maskPatterns("constructor"), /constructor is none of/);
  });

  test("as the mask of a client", async () => {
    await client({ mask: maskPatterns("email", "key", "card") });
    startObservation("one", { input: { to: "ann@example.com", "4111111111111111": ["sk-abcdefghijklmnop1234"] } }).end();
    assert.equal((await rows()).one.input, '{"to":"[email]","[card]":["[key]"]}');
  });

  const MIB = 1024 * 1024;
  // Those of JavaScriptCore are slower, and take as long for each further mebibyte.
  const MOST_MS = process.versions.bun ? 2000 : 100;
  const hostile = {
    letters: "a",
    "letters and dots": "a.",
    "at signs": "@",
    "almost addresses": "a@a.",
    "almost addresses with long names": `${"a".repeat(63)}@${"a".repeat(63)}.`,
    "labels without an end": `@${"a.".repeat(8)}`,
    "almost tokens": "eyJ-",
    "long almost tokens": `eyJ${"a".repeat(4000)} `,
    "almost keys": "sk-",
    "keys with every prefix": "sk-pk_ghp_AKIAxoxb-AIzaeyJ.",
    digits: "4",
    "digits in groups": "4 ",
    "cards that are none": "4111 1111 1111 1112 ",
    "digits and letters": `${"4".repeat(19)}x`,
    "private keys": "-----BEGIN PRIVATE KEY-----",
    "beginnings of private keys": "-----BEGIN ",
    escapes: "\\n",
    "escapes by number": "\\u0007",
    "escaped backslashes": "\\\\",
    "escapes and addresses": "\\na@b.co",
    spaces: " ",
    letters2: "ü",
  };
  for (const [what, part] of Object.entries(hostile)) {
    test(`a mebibyte of ${what} takes less than ${MOST_MS} ms a pattern`, () => {
      const text = part.repeat(Math.ceil(MIB / part.length)).slice(0, MIB);
      for (const name of ["email", "key", "card"]) {
        const mask = maskPatterns(name);
        // The best of three: others may have the processor.
        const times = [1, 2, 3].map(() => {
          const start = performance.now();
          assert.equal(typeof mask({ data: text }), "string");
          return performance.now() - start;
        });
        assert.ok(Math.min(...times) < MOST_MS, `${name}: ${times.map(Math.round)} ms`);
      }
    });
  }
});
