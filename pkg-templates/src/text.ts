/** Values as the text they are recorded as: a string as it is, anything else as JSON. Nothing a value does stops it. */

/** More elements of a list are counted, not kept. */
const KEPT_ELEMENTS = 10_000;
/** Deeper values are only named. */
const KEPT_LEVELS = 100;
/**
 * So many values within one are looked at: their text is longer than what is recorded. Objects that refer to each other
 * in many ways have no end.
 */
const MOST_VALUES = 500_000;
const MOST_TAMED_VALUES = 100_000;

/** What stands in the place of a value that cannot be made into JSON. */
export const NOT_SERIALIZABLE = "[not serializable]";

/** How many more values the text that is being made may have. */
let left = 0;

/** The text of a value; undefined for what is absent. */
export function textOf(value: unknown): string | undefined {
  if (value === undefined || value === null) {
    return undefined;
  }
  try {
    if (typeof value !== "object") {
      const simple = plain.call({}, "", value);
      return typeof simple === "string" ? simple : JSON.stringify(simple);
    }
    left = MOST_VALUES;
    const isAsItIs = isPlain(value, KEPT_LEVELS);
    left = MOST_VALUES;
    return JSON.stringify(value, isAsItIs ? undefined : counted) ?? NOT_SERIALIZABLE;
  } catch {
    // A circle, or a getter or a `toJSON` that throws.
    try {
      left = MOST_TAMED_VALUES;
      return JSON.stringify(tamed(value, []), plain);
    } catch {
      return NOT_SERIALIZABLE;
    }
  }
}

/** Whether `plain` would change nothing: to ask costs a tenth of what the calls of `plain` do. */
function isPlain(value: unknown, levels: number): boolean {
  if (left-- <= 0) {
    return false;
  }
  if (typeof value !== "object" || value === null) {
    return typeof value !== "bigint" && typeof value !== "function" && typeof value !== "symbol";
  }
  if (levels === 0) {
    return false;
  }
  if (Array.isArray(value)) {
    return value.length <= KEPT_ELEMENTS && value.every((element) => isPlain(element, levels - 1));
  }
  if (Object.getPrototypeOf(value) !== Object.prototype) {
    return false;
  }
  for (const name in value) {
    if (!isPlain((value as Record<string, unknown>)[name], levels - 1)) {
      return false;
    }
  }
  return true;
}

function counted(this: unknown, key: string, value: unknown): unknown {
  if (left-- <= 0) {
    throw new RangeError();
  }
  return plain.call(this, key, value);
}

/** What `JSON.stringify` would leave out, shorten to `{}` or refuse. */
function plain(this: unknown, key: string, value: unknown): unknown {
  switch (typeof value) {
    case "bigint":
      return `${value}`;
    case "function":
      return `[Function: ${typeof value.name === "string" && value.name ? value.name : "anonymous"}]`;
    case "symbol":
      return String(value);
    case "object":
      break;
    default:
      return value;
  }
  if (value === null) {
    return null;
  }
  if (Array.isArray(value)) {
    return shortened(value);
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === Object.prototype) {
    // What `toJSON` of a Buffer has made of it, a number for each byte.
    const original = (this as Record<string, unknown>)[key];
    return original !== value && ArrayBuffer.isView(original) ? bytes(original) : value;
  }
  if (value instanceof Error) {
    const { name, message, cause } = value;
    return { ...value, name, message, ...(cause !== undefined && { cause }) };
  }
  if (value instanceof Map) {
    const entries = [...(value as Map<unknown, unknown>)];
    const hasNames = entries.length <= KEPT_ELEMENTS && entries.every(([name]) => typeof name === "string");
    return hasNames ? Object.fromEntries(entries) : shortened(entries);
  }
  if (value instanceof Set) {
    return shortened([...(value as Set<unknown>)]);
  }
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) {
    return bytes(value);
  }
  return value;
}

/** One more element is as short as the number of those that are gone. */
const shortened = (list: unknown[]): unknown[] =>
  list.length <= KEPT_ELEMENTS + 1
    ? list
    : [...list.slice(0, KEPT_ELEMENTS), `…[${list.length - KEPT_ELEMENTS} more elements]`];

const bytes = (value: ArrayBuffer | ArrayBufferView): string => `[${value.constructor.name}: ${value.byteLength} bytes]`;

/** A copy that `JSON.stringify` can do nothing wrong with. */
function tamed(value: unknown, above: unknown[]): unknown {
  if (left-- <= 0) {
    return "[too large]";
  }
  const simple = plain.call({}, "", value);
  if (typeof simple !== "object" || simple === null) {
    return simple;
  }
  if (above.includes(value)) {
    return "[Circular]";
  }
  if (above.length >= KEPT_LEVELS) {
    return "[too deep]";
  }
  const here = [...above, value];
  if (Array.isArray(simple)) {
    return simple.map((element) => tamed(element, here));
  }
  const copy = Object.create(null) as Record<string, unknown>;
  const own = readable(() => (simple as { toJSON?: () => unknown }).toJSON);
  if (typeof own === "function") {
    const json = readable(() => own.call(simple) as unknown);
    return typeof json === "object" ? tamed(json, here) : json;
  }
  for (const name of Object.keys(simple)) {
    copy[name] = tamed(
      readable(() => (simple as Record<string, unknown>)[name]),
      here,
    );
  }
  return copy;
}

/** What cannot be read says so. */
export function readable<T>(read: () => T): T | string {
  try {
    return read();
  } catch (error) {
    return `[${String((error as Error)?.message ?? "throws")}]`;
  }
}
