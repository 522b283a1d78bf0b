/** The environment variables, each by itself and as a whole. */

import { failed, ok, type Verdict } from "./doctor-report.js";
import { Langfuse } from "./index.js";

export type Variables = Readonly<Record<string, string | undefined>>;

export interface Variable {
  readonly name: string;
  readonly state: "set" | "absent" | "bad";
  /** Its value where that is no secret, or what is wrong with it. */
  readonly note: string;
}

export interface Keys {
  readonly publicKey: string;
  readonly secretKey: string;
}

export interface Environment {
  readonly variables: readonly Variable[];
  readonly verdict: Verdict;
  /** When its URL can be used, without a slash at the end. */
  readonly server: string | undefined;
  /** When both are there. */
  readonly keys: Keys | undefined;
  /** When a client can be made of it. */
  readonly config: Record<string, string> | undefined;
}

/** The settings of the core, each with its variables, of which the first one that is set counts. */
const SETTINGS = [
  ["LANGFUSE_PUBLIC_KEY"],
  ["LANGFUSE_SECRET_KEY"],
  ["LANGFUSE_BASE_URL", "LANGFUSE_BASEURL", "LANGFUSE_HOST"],
  ["LANGFUSE_TRACING_ENABLED"],
  ["LANGFUSE_TRACING_ENVIRONMENT"],
  ["LANGFUSE_RELEASE"],
  ["LANGFUSE_SAMPLE_RATE"],
  ["LANGFUSE_TIMEOUT"],
  ["LANGFUSE_FLUSH_AT"],
  ["LANGFUSE_FLUSH_INTERVAL"],
  ["LANGFUSE_AMBIGUOUS"],
] as const;
const [PUBLIC_KEY, SECRET_KEY, SERVER] = SETTINGS;
const DEFAULT_SERVER = "https://cloud.langfuse.com";

/** What stands for keys where they do not matter. */
const ANY_KEYS = { LANGFUSE_PUBLIC_KEY: "pk-lf-any", LANGFUSE_SECRET_KEY: "sk-lf-any" };
/** Of a key nothing is shown but the prefix that every key has. */
const PREFIXES: Variables = { LANGFUSE_PUBLIC_KEY: "pk-lf-", LANGFUSE_SECRET_KEY: "sk-lf-" };

export function examineEnvironment(env: Variables): Environment {
  const config: Record<string, string> = {};
  for (const name of SETTINGS.flat()) {
    const value = env[name]?.trim();
    if (value) config[name] = value;
  }
  const variables = SETTINGS.flatMap((names) => ofSetting(names, config));
  const server = serverOf(first(SERVER, config)?.value ?? DEFAULT_SERVER);
  const key = ([name]: readonly [string]): string | undefined =>
    variables.some((known) => known.name === name && known.state === "bad") ? undefined : config[name];
  const [publicKey, secretKey] = [key(PUBLIC_KEY), key(SECRET_KEY)];
  const keys = publicKey && secretKey ? { publicKey, secretKey } : undefined;
  const verdict = judge(variables, config);
  return { variables, verdict, server, keys, config: keys && verdict.status === "ok" ? config : undefined };
}

function judge(variables: readonly Variable[], config: Variables): Verdict {
  const bad = variables.filter(({ state }) => state === "bad").map(({ name }) => name);
  if (bad.length) {
    return failed(`${bad.join(", ")} cannot be used`, "correct what is marked as bad; a client refuses to start with it");
  }
  const refusal = refusalOf(config);
  if (refusal) return failed(refusal, "correct the variable; a client refuses to start with it");
  if (/^(false|0)$/i.test(config.LANGFUSE_TRACING_ENABLED ?? "")) {
    return failed("tracing is switched off by LANGFUSE_TRACING_ENABLED", "set it to true, or unset it");
  }
  const missing = !config.LANGFUSE_PUBLIC_KEY
    ? "publicKey (LANGFUSE_PUBLIC_KEY)"
    : !config.LANGFUSE_SECRET_KEY && "secretKey (LANGFUSE_SECRET_KEY)";
  if (missing) {
    return failed(
      `tracing is disabled because ${missing} is not set`,
      "set it to the key of the project's settings in Langfuse, where your program runs",
    );
  }
  const share = Number(config.LANGFUSE_SAMPLE_RATE ?? 1);
  if (share === 0) return failed("LANGFUSE_SAMPLE_RATE keeps no trace", "set it to 1, or unset it");
  const set = variables.filter(({ state }) => state === "set").length;
  const kept = share < 1 ? `; ${share} of all traces are kept` : "";
  return ok(`${set} of ${variables.length} variables are set${kept}`);
}

/** The URL of a server without a slash at the end, when a client takes it. */
export function serverOf(url: string): string | undefined {
  const server = url.trim() || DEFAULT_SERVER;
  return refusalOf({ ...ANY_KEYS, LANGFUSE_BASE_URL: server }) ? undefined : server.replace(/\/$/, "");
}

/** The variable that counts, with its value. */
function first(names: readonly string[], config: Variables): { name: string; value: string } | undefined {
  for (const name of names) {
    const value = config[name];
    if (value) return { name, value };
  }
  return undefined;
}

function ofSetting(names: readonly string[], config: Variables): Variable[] {
  const counts = first(names, config);
  return names.map((name) => {
    const value = config[name];
    if (!value || !counts) return { name, state: "absent", note: "" };
    if (counts.name !== name) return { name, state: "set", note: `not used: ${counts.name} is set, too` };
    const note = problem(name, value);
    return note ? { name, state: "bad", note } : { name, state: "set", note: shown(name, value) };
  });
}

/** What is wrong with a value, without the value. */
function problem(name: string, value: string): string | undefined {
  const other = Object.entries(PREFIXES).find(([known]) => PREFIXES[name] && known !== name)?.[1];
  if (other && value.startsWith(other)) return `${name} begins with ${other}: are the two keys swapped?`;
  return refusalOf({ ...ANY_KEYS, [name]: value });
}

function shown(name: string, value: string): string {
  const prefix = PREFIXES[name];
  if (!prefix) return value;
  return value.startsWith(prefix)
    ? `${prefix}…`
    : `does not begin with ${prefix}, as keys of Langfuse usually do`;
}

/** Why a client cannot be made of these variables. */
function refusalOf(config: Variables): string | undefined {
  try {
    Langfuse.fromEnv(config).free();
    return undefined;
  } catch (error) {
    return (error as Error).message.replace(/^langfuse-edge: /, "");
  }
}
