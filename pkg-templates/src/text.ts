/** Values as the text they are recorded as: a string as it is, anything else as JSON. Nothing a value does stops it. */

/** More elements of a list are counted, not kept. */
const KEPT_ELEMENTS = 10_000;
/** Deeper values are only named. */
const KEPT_LEVELS = 100;

/** The text of a value; undefined for what is absent. */
export function textOf(value: unknown): string | undefined {
  if (value === undefined || value === null) {
    return undefined;
  }
  if (typeof value !== "object") {
    const simple = plain.call({}, "", value);
    return typeof simple === "string" ? simple : JSON.stringify(simple);
  }
  try {
    return JSON.stringify(value, plain) ?? "[not serializable]";
  } catch {
    // A circle, or a getter or a `toJSON` that throws.
    try {
      return JSON.stringify(tamed(value, []), plain);
    } catch {
      return "[not serializable]";
    }
  }
}

/** What `JSON.stringify` would leave out, shorten to `{}` or refuse. */
function plain(this: unknown, key: string, value: unknown): unknown {
  switch (typeof value) {
    case "bigint":
      return `${value}`;
    case "function":
      return `[Function: ${value.name || "anonymous"}]`;
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
    return value.length > KEPT_ELEMENTS ? firstOf(value) : value;
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
    return entries.every(([name]) => typeof name === "string") ? Object.fromEntries(entries) : entries;
  }
  if (value instanceof Set) {
    return [...(value as Set<unknown>)];
  }
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) {
    return bytes(value);
  }
  return value;
}

const firstOf = (list: unknown[]): unknown[] => [
  ...list.slice(0, KEPT_ELEMENTS),
  `…[${list.length - KEPT_ELEMENTS} more elements]`,
];

const bytes = (value: ArrayBuffer | ArrayBufferView): string => `[${value.constructor.name}: ${value.byteLength} bytes]`;

/** A copy that `JSON.stringify` can do nothing wrong with. */
function tamed(value: unknown, above: unknown[]): unknown {
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
  const copy: Record<string, unknown> = {};
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
