#!/usr/bin/env node
/** The program `langfuse-edge` of the npm package: `doctor`. The crate's has a receiver as well. */

import { readFileSync } from "node:fs";

import { serverOf } from "./doctor-environment.js";
import { CLOUD } from "./doctor-server.js";
import { examine, type Options } from "./doctor.js";

const HELP = `Find out why traces are missing: check the variables, the way to the server, the keys, and send a test trace

Usage: langfuse-edge doctor [OPTIONS]

Options:
      --json                Print JSON for programs
      --timeout <SECONDS>   Seconds that each step on the network may take [default: 10]
      --wait <SECONDS>      Seconds to wait until the test trace can be read back [default: 60]
      --regions[=<URL,…>]   When the server does not know the keys, send them to these servers, too; without URLs to all of Langfuse Cloud
  -h, --help                Print help
  -V, --version             Print version
`;

/** What was meant cannot be known: exit code 2. */
class UsageError extends Error {}

interface Command extends Options {
  json: boolean;
}

/** What the arguments ask for; a text is all there is to print. @throws UsageError that names the argument. */
function parse([command, ...rest]: string[], version: string): Command | string {
  const wanted = [command, ...rest];
  if (wanted.includes("--help") || wanted.includes("-h")) return HELP;
  if (wanted.includes("--version") || wanted.includes("-V")) return `langfuse-edge ${version}\n`;
  if (command === "dev") {
    throw new UsageError("dev is a command of the Rust program: cargo install langfuse-edge --features cli");
  }
  if (command !== "doctor") throw new UsageError(`the command must be doctor, not ${command ?? "nothing"}`);
  const options: Command = { json: false, timeoutMs: 10_000, waitMs: 60_000, regions: [] };
  for (let argument = rest.shift(); argument !== undefined; argument = rest.shift()) {
    const [, name, value] = /^(.*?)(?:=(.*))?$/s.exec(argument) ?? [];
    if (name === "--json" && value === undefined) options.json = true;
    else if (name === "--timeout") options.timeoutMs = seconds(name, value ?? rest.shift());
    else if (name === "--wait") options.waitMs = seconds(name, value ?? rest.shift());
    else if (name === "--regions") options.regions = (value?.split(",") ?? CLOUD).map(region);
    else throw new UsageError(`there is no argument ${argument}`);
  }
  return options;
}

function seconds(name: string, text = ""): number {
  const number = text.trim() ? Number(text) : NaN;
  if (!(number >= 0.001 && number <= 86_400)) {
    throw new UsageError(`${name} must be seconds above 0 and at most 86400, such as 10 or 0.5`);
  }
  return number * 1000;
}

function region(url: string): string {
  const server = serverOf(url);
  if (!server) throw new UsageError("--regions must be http or https URLs with commas between");
  return server;
}

async function main(): Promise<number> {
  // The table says what the client would warn of.
  process.env.LANGFUSE_LOG_LEVEL = "ERROR";
  delete process.env.LANGFUSE_DEBUG;
  // Who has closed them looks at the exit code.
  process.stdout.on("error", () => {});
  process.stderr.on("error", () => {});
  const manifest = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  const { version } = JSON.parse(manifest) as { version: string };
  try {
    const command = parse(process.argv.slice(2), version);
    if (typeof command === "string") {
      process.stdout.write(command);
      return 0;
    }
    const report = await examine(process.env, command);
    process.stdout.write(command.json ? report.json(version) : report.text(version));
    return report.failures ? 1 : 0;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`error: ${error.message}\n\nFor more information, try 'langfuse-edge doctor --help'.\n`);
    return 2;
  }
}

process.exitCode = await main();
