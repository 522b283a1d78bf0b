// A program that measures itself and prints what it found, as JSON on the last line of its output.
import { execFile } from "node:child_process";

const TIMEOUT_MS = 300_000;

export function measured(command, args, env = {}) {
  return new Promise((resolve, reject) => {
    execFile(command, args, { env: { ...process.env, ...env }, timeout: TIMEOUT_MS, maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      if (error) return reject(new Error(`${command} ${args.join(" ")}: ${error.message}\n${stderr}`));
      resolve(JSON.parse(stdout.trimEnd().split("\n").at(-1)));
    });
  });
}
