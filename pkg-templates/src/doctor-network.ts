/** The way to the server: its name, a connection, encryption, an answer. */

import { lookup } from "node:dns/promises";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";

import type { Variables } from "./doctor-environment.js";
import { ms, TOO_LONG, words, type Answer, type Failure, type Http } from "./doctor-http.js";
import { failed, notRun, ok, type Verdict } from "./doctor-report.js";

export interface Reached {
  readonly dns: Verdict;
  readonly connect: Verdict;
  readonly tls: Verdict;
  /** What became of the question for its health, when there was somebody to ask. */
  readonly health?: Answer | Failure;
}

const NO_ADDRESS = notRun("the server's name has no address");
const NO_CONNECTION = notRun("there is no connection");
const PROXY = notRun("a proxy of the environment makes the connection");

const NOT_ENCRYPTED = notRun("not needed: the URL begins with http://");

export async function reach(http: Http, env: Variables): Promise<Reached> {
  const direct = await reachDirectly(http);
  if (direct.health || !mayUseProxy(env)) return direct;
  const health = await http.get("health");
  if ("words" in health) return direct;
  return { dns: PROXY, connect: PROXY, tls: http.server.startsWith("https:") ? PROXY : NOT_ENCRYPTED, health };
}

/** Newer versions of Node.js ask the proxy of the environment when they are told to. Others do as if nothing was said. */
function mayUseProxy(env: Variables): boolean {
  return env.NODE_USE_ENV_PROXY === "1" && Object.keys(env).some((name) => /^https?_proxy$/i.test(name));
}

async function reachDirectly(http: Http): Promise<Reached> {
  let url;
  try {
    url = new URL(http.server);
  } catch {
    const why = "the host in LANGFUSE_BASE_URL cannot be read";
    const dns = failed(why, "set it to a URL such as https://cloud.langfuse.com");
    return { dns, connect: NO_ADDRESS, tls: NO_CONNECTION };
  }
  const isEncrypted = url.protocol === "https:";
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const port = Number(url.port || (isEncrypted ? 443 : 80));
  const { verdict: dns, address } = await resolve(host, http.timeoutMs);
  if (!address) return { dns, connect: NO_ADDRESS, tls: NO_CONNECTION };

  const connect = await tryToConnect(host, port, address, http.timeoutMs);
  if (connect.status === "failed") return { dns, connect, tls: NO_CONNECTION };

  const tls = isEncrypted ? await tryToEncrypt(host, port, http.timeoutMs) : NOT_ENCRYPTED;
  if (tls.status === "failed") return { dns, connect, tls };
  return { dns, connect, tls, health: await http.get("health") };
}

async function resolve(host: string, timeoutMs: number): Promise<{ verdict: Verdict; address?: string }> {
  const fix = "check the host name in LANGFUSE_BASE_URL, and the DNS of this machine or container";
  const start = performance.now();
  let timer;
  try {
    const tooLong = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error("DNS took too long")), timeoutMs);
    });
    const { address } = await Promise.race([lookup(host), tooLong]);
    const verdict = isIP(host)
      ? ok(`${host} is an address`)
      : ok(`${host} is ${address} (${ms(performance.now() - start)})`);
    return { verdict, address };
  } catch (error) {
    return { verdict: failed(`${host} has no address: ${words(error)}`, fix) };
  } finally {
    clearTimeout(timer);
  }
}

async function tryToConnect(host: string, port: number, address: string, timeoutMs: number): Promise<Verdict> {
  const shown = address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
  const start = performance.now();
  const failure = await until(connectTcp({ host, port }), "connect", timeoutMs);
  if (!failure) return ok(`${shown} (${ms(performance.now() - start)})`);
  return failed(
    `${shown} takes no connection: ${failure}`,
    "check that the server runs, the port in LANGFUSE_BASE_URL, and the firewalls between",
  );
}

async function tryToEncrypt(host: string, port: number, timeoutMs: number): Promise<Verdict> {
  const name = isIP(host) ? {} : { servername: host };
  const failure = await until(connectTls({ host, port, ...name }), "secureConnect", timeoutMs);
  if (!failure) return ok("the server's certificate is trusted");
  return failed(
    `no encrypted connection: ${failure}`,
    "check that the port speaks https, that its certificate is valid for this name, and that this machine trusts who signed it",
  );
}

/** Why a connection has not got this far; undefined when it has. */
function until(socket: Socket, event: "connect" | "secureConnect", timeoutMs: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const end = (failure?: string): void => {
      clearTimeout(timer);
      resolve(failure);
      socket.destroy();
    };
    const timer = setTimeout(() => end(TOO_LONG), timeoutMs);
    socket.once(event, () => end());
    // For good: what a destroyed socket still says is of no interest.
    socket.on("error", (error) => end(words(error)));
    socket.once("close", () => end("the connection was closed"));
  });
}
