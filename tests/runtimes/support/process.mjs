// Programs that run to their end.
import { execFile } from "node:child_process";

const TIMEOUT_MS = 120_000;

/** What a program printed, and with `all` also on standard error; a failure, with all that it said, if it did not end well. */
export function output(command, args, { cwd, env, all = false } = {}) {
  return new Promise((resolve, reject) => {
    const options = { cwd, env: { ...process.env, ...env }, timeout: TIMEOUT_MS, maxBuffer: 64 << 20 };
    execFile(command, args, options, (error, stdout, stderr) => {
      if (!error) return resolve(all ? stdout + stderr : stdout);
      const how = error.killed ? `did not end within ${TIMEOUT_MS / 1000} s` : `ended with ${error.code ?? error.signal}`;
      reject(new Error(`${command} ${args.join(" ")} ${how}:\n${stderr}${stdout}`.trim()));
    });
  });
}
