// Runs the suites of tests/js in Deno and Bun, too: those that use the package in their own process.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

import { ROOT } from "../js/support/program.mjs";
import { output } from "./support/process.mjs";
import { bun, deno, version } from "./support/tools.mjs";

/** As many as keep two cores busy. */
const AT_ONCE = 3;
/** Of a failed suite's output, from its first failure on. */
const LINES_SHOWN = 60;

const FOLDER = join(ROOT, "tests/js");
const RUNTIMES = [
  [`Deno ${version("deno")}`, [deno, "test", "--allow-all", "--no-check"], /[1-9]\d* passed.* \| 0 failed/],
  [`Bun ${version("bun")}`, [bun, "test", "--timeout=120000"], /^ *[1-9]\d* pass\n *0 fail$/m],
];

const started = performance.now();
const suites = [];
for (const file of (await readdir(FOLDER)).filter((file) => file.endsWith(".test.mjs")).toSorted()) {
  const source = await readFile(join(FOLDER, file), "utf8");
  // Workers run in workerd, whatever runs their tests; what is about Node.js alone has that in its name.
  const isElsewhere = source.includes('from "miniflare"') || file.startsWith("node-");
  if (/(from |import\()"langfuse-edge[/"]/.test(source) && !isElsewhere) suites.push(file);
}
const runs = RUNTIMES.flatMap(([name, command, passed]) => suites.map((suite) => ({ name, command, passed, suite })));
const waiting = [...runs];
await Promise.all(
  Array.from({ length: AT_ONCE }, async () => {
    for (let run = waiting.shift(); run; run = waiting.shift()) await play(run);
  }),
);

const width = Math.max(...suites.map((suite) => suite.length));
console.log(["".padEnd(width), ...RUNTIMES.map(([name]) => name)].join("  "));
for (const suite of suites) {
  const cells = RUNTIMES.map(([name]) => (runs.find((run) => run.suite === suite && run.name === name).passes ? "yes" : "NO").padEnd(name.length));
  console.log([suite.padEnd(width), ...cells].join("  "));
}
const failed = runs.filter(({ passes }) => !passes);
for (const { name, suite, problem } of failed) console.log(`\n${suite} in ${name}:\n${problem}`);
console.log(`\n${suites.length} suites, ${failed.length || "no"} failed, ${((performance.now() - started) / 1000).toFixed(1)} s`);
process.exitCode = failed.length || !suites.length ? 1 : 0;

/** Sets whether it passes, and what it printed otherwise. */
async function play(run) {
  const { command, passed, suite } = run;
  try {
    const printed = await output(command[0], [...command.slice(1), join(FOLDER, suite)], { cwd: ROOT, env: { NO_COLOR: "1" }, all: true });
    run.passes = passed.test(printed);
    run.problem = printed;
  } catch (error) {
    run.problem = error.message;
  }
  const lines = run.problem.split("\n");
  const first = Math.max(0, lines.findIndex((line) => /FAILED|\(fail\)/.test(line)) - 15);
  run.problem = lines.slice(first, first + LINES_SHOWN).join("\n");
}
