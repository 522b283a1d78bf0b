/** Attributes as the texts that are recorded, masked, and as the core reads them: see `src/wasm/said.rs`. */

import type { ObservationAttributes, TraceAttributes } from "./core.js";
import { maskedBy, type Mask } from "./mask.js";
import { NOT_SERIALIZABLE, textOf } from "./text.js";

type Attributes = ObservationAttributes & TraceAttributes;

/** Texts by the letters of what they say, and for what there can be more of by a name or a number behind it. */
export type Texts = Record<string, string>;

/** Of the names of metadata, in front of their values. */
const METADATA = "k";

/** Takes over what an observation says. A property that throws is absent. */
export function say(texts: Texts, attributes: ObservationAttributes | null | undefined, mask: Mask | undefined): void {
  const given: unknown = attributes;
  if (typeof given !== "object" || given === null) {
    return;
  }
  put(texts, "i", masked(read(given, "input"), mask));
  put(texts, "o", masked(read(given, "output"), mask));
  put(texts, "l", string(read(given, "level")));
  put(texts, "s", maskedString(read(given, "statusMessage"), mask));
  put(texts, "m", string(read(given, "model")));
  put(texts, "h", ofObject(read(given, "modelParameters")));
  put(texts, "u", ofObject(read(given, "usageDetails")));
  put(texts, "c", ofCosts(read(given, "costDetails")));
  put(texts, "f", ofTime(read(given, "completionStartTime")));
  sayOfBoth(texts, given, mask);
}

/** What is said of a trace, which all of its observations say. */
export interface SaidOfTrace {
  readonly attributes: TraceAttributes;
  /** For the core, behind what is said of the observation. */
  readonly text: string;
}

export function saidOfTrace(trace: TraceAttributes, mask: Mask | undefined): SaidOfTrace {
  const texts: Texts = { "|": "" };
  put(texts, "t", string(trace.traceName));
  put(texts, "U", string(trace.userId));
  put(texts, "S", string(trace.sessionId));
  put(texts, "r", string(trace.release));
  put(texts, "b", textOf(trace.public));
  trace.tags?.forEach((tag, index) => put(texts, `T${index}`, maskedString(tag, mask)));
  sayOfBoth(texts, trace, mask);
  return { attributes: trace, text: joined("", texts).join("") };
}

function sayOfBoth(texts: Texts, attributes: Partial<Attributes>, mask: Mask | undefined): void {
  put(texts, "v", string(read(attributes, "version")));
  put(texts, "e", string(read(attributes, "environment")));
  const prompt = read(attributes, "prompt");
  if (prompt) {
    sayPrompt(texts, prompt);
  }
  const metadata = read(attributes, "metadata");
  // What has no names is kept under the name `value`, as Langfuse's own clients do.
  for (const [name, value] of entriesOf(metadata) ?? [["value", metadata]]) {
    put(texts, METADATA + name, masked(value, mask));
  }
}

/** A fallback is no version that Langfuse manages, and is not linked. */
function sayPrompt(texts: Texts, prompt: object): void {
  const name = string(read(prompt, "name"));
  const version = textOf(read(prompt, "version"));
  if (name !== undefined && version !== undefined && !read(prompt, "isFallback")) {
    put(texts, "p", name);
    put(texts, "q", version);
  }
}

function put(texts: Texts, key: string, text: string | undefined): void {
  if (text !== undefined) {
    texts[key] = text;
  }
}

/** One behind the other, for the core, in parts: a long text is one by itself, because to put it together with others is to copy it. */
export function joined(before: string, texts: Texts): string[] {
  const parts = [];
  let all = before;
  for (const key in texts) {
    const letter = key.charAt(0);
    const text = texts[key]!;
    all += letter === METADATA ? `${entry(METADATA, key.slice(1))}w${text.length}:` : `${letter}${text.length}:`;
    if (text.length < LONG) {
      all += text;
    } else {
      parts.push(all, text);
      all = "";
    }
  }
  parts.push(all);
  return parts;
}

/** In UTF-16 code units. */
const LONG = 8192;

/** A letter, the text's length, and the text. */
export const entry = (letter: string, text: string): string => `${letter}${text.length}:${text}`;

function masked(value: unknown, mask: Mask | undefined): string | undefined {
  return maskedString(textOf(value), mask);
}

function maskedString(text: unknown, mask: Mask | undefined): string | undefined {
  return typeof text === "string" ? maskedBy(mask, text) : undefined;
}

const string = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);

/** Numbers and short texts by name: what is to be read once, and not made up for. */
function ofObject(value: unknown): string | undefined {
  try {
    return isPlain(value) ? JSON.stringify(value) : undefined;
  } catch {
    return NOT_SERIALIZABLE;
  }
}

/** Langfuse does not check costs: one that is negative or not a number could fail the whole row. */
function ofCosts(costs: unknown): string | undefined {
  const isCost = (cost: unknown) => typeof cost === "number" && cost >= 0 && cost < Infinity;
  const entries = entriesOf(costs);
  return entries && JSON.stringify(Object.fromEntries(entries.filter(([, cost]) => isCost(cost))));
}

function ofTime(time: unknown): string | undefined {
  const millis = millisOf(time);
  return millis === undefined ? undefined : new Date(millis).toISOString();
}

/** The latest that a `Date` can be. */
const LATEST = 8.64e15;

/** Of a `Date`, or of milliseconds since 1970; undefined for anything else. */
export function millisOf(time: unknown): number | undefined {
  try {
    const millis = typeof time === "object" && time !== null ? Number(time) : time;
    return typeof millis === "number" && millis >= 0 && millis <= LATEST ? Math.floor(millis) : undefined;
  } catch {
    return undefined; // A Date behind a proxy.
  }
}

/** What an object has that can be read; undefined for what has no names. */
function entriesOf(object: unknown): [string, unknown][] | undefined {
  try {
    return isPlain(object) ? Object.keys(object).map((name) => [name, read(object, name)]) : undefined;
  } catch {
    return undefined; // A proxy that does not say what names it has.
  }
}

function isPlain(value: unknown): value is object {
  try {
    return typeof value === "object" && value !== null && !Array.isArray(value);
  } catch {
    return false; // A proxy that was revoked.
  }
}

/** A property; undefined when there is none, or when it throws. */
export function read(object: object | null | undefined, name: string): unknown {
  try {
    return (object as Record<string, unknown> | null | undefined)?.[name];
  } catch {
    return undefined;
  }
}
