import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../../..", import.meta.url));

/**
 * Starts a program. `line(pattern)` resolves with its next line of output that matches, `done` with its exit code, or the
 * signal that ended it, and everything it printed; `lines` grows with what it prints.
 */
export function start(command, args, env = {}) {
  const child = spawn(command, args, {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const lines = [];
  const waiting = new Set();
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on("line", (line) => {
      lines.push(line);
      for (const waiter of waiting) waiter(line);
    });
  }
  const done = new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve({ code, signal, output: lines.join("\n") }));
  });
  const line = (pattern) =>
    Promise.race([
      new Promise((resolve) => {
        const waiter = (text) => {
          const match = pattern.exec(text);
          if (match) waiting.delete(waiter), resolve(match);
        };
        waiting.add(waiter);
      }),
      done.then(({ output }) => assert.fail(`ended without a line like ${pattern}:\n${output}`)),
    ]);
  // Deno takes a process that `child.kill` has sent a signal for one that the signal has ended.
  const kill = (signal) => child.exitCode === null && child.signalCode === null && process.kill(child.pid, signal);
  return { line, lines, done, kill };
}

/** How this runtime, which may be Node.js, Deno or Bun, runs the text of a module. */
function moduleArguments(source, gc) {
  if (process.versions.deno) return ["eval", "--quiet", "--ext=mjs", ...(gc ? ["--v8-flags=--expose-gc"] : []), source];
  const flags = gc ? ["--expose-gc"] : [];
  return process.versions.bun ? [...flags, "--eval", source] : [...flags, "--input-type=module", "--eval", source];
}

/** Starts a module in a process of its own, which is ended with the test at the latest. With `gc`, it can call `gc()`. */
export function startScript(t, source, env = {}, { gc = false } = {}) {
  const script = start(process.execPath, moduleArguments(source, gc), env);
  t.after(() => script.kill("SIGKILL"));
  return script;
}
