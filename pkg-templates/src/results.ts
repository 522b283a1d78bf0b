/**
 * Watches what a function gives until it is complete: a value at once, a promise when it is settled, a generator or a
 * stream when it has been consumed or given up. The caller gets what it would have got, and at the pace it asks for.
 */

/** How a result came to its end. */
export interface Completion {
  /** What it gave; of a stream, the parts that were consumed. */
  output?: unknown;
  /** What it failed with. Present when it failed. */
  error?: unknown;
  hasFailed: boolean;
  /** The consumer did not want the rest. */
  isPartial: boolean;
}

export interface Watch {
  /** Is called once. */
  complete(completion: Completion): void;
  /** Whether the parts of a stream are kept for the output. Default: true. */
  keepsParts?: boolean;
  /** Runs a part of the result's code, such as a step of a generator, in the context the function was called in. */
  within<R>(run: () => R): R;
}

/** So many parts of a stream are kept for the output; those beyond are counted. */
const KEPT_PARTS = 10_000;

/** Gives `result`, or what behaves as it does, and completes the watch when it is complete. */
export function watched<Result>(result: Result, watch: Watch): Result {
  return watchAny(result, { ...watch, complete: once(watch.complete) }) as Result;
}

function once(complete: Watch["complete"]): Watch["complete"] {
  let isComplete = false;
  return (completion) => {
    if (!isComplete) {
      isComplete = true;
      complete(completion);
    }
  };
}

function watchAny(result: unknown, watch: Watch): unknown {
  if (isObject(result)) {
    if (isThenable(result)) return watchThenable(result, watch);
    if (isIterator(result)) return watchIterator(result, watch);
    if (result instanceof ReadableStream) return watchStream(result, watch);
    if (result instanceof Response) return watchResponse(result, watch);
    if (isAsyncIterable(result)) return watchAsyncIterable(result, watch);
  }
  watch.complete({ output: result, hasFailed: false, isPartial: false });
  return result;
}

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;

const failed = (error: unknown, output?: unknown): Completion => ({ output, error, hasFailed: true, isPartial: false });

// Promises

type Thenable = PromiseLike<unknown> & object;

type Callback = ((settled: unknown) => unknown) | null | undefined;

function isThenable(value: object): value is Thenable {
  return typeof (value as Partial<Thenable>).then === "function";
}

function watchThenable(thenable: Thenable, watch: Watch): unknown {
  const fulfilled = (value: unknown) => watchAny(value, watch);
  const rejected = (error: unknown) => {
    watch.complete(failed(error));
    throw error;
  };
  const kind: unknown = thenable.constructor;
  if (kind === Promise) {
    return thenable.then(fulfilled, rejected);
  }
  // What the caller does comes after, in the same step: `then` need not give anything that goes on.
  const then = (onFulfilled: Callback, onRejected: Callback) =>
    thenable.then(
      (value) => (typeof onFulfilled === "function" ? onFulfilled(fulfilled(value)) : fulfilled(value)),
      (error: unknown) => {
        watch.complete(failed(error));
        if (typeof onRejected !== "function") throw error;
        return onRejected(error);
      },
    );
  // One with methods of its own, or one that does nothing until somebody asks for its value: so nobody else asks.
  return new Proxy(thenable, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      if (name === "then") return then;
      if (name === "catch") return (onRejected: Callback) => then(undefined, onRejected);
      return value.bind(target);
    },
  });
}

// Iterators and what gives them

type AnyIterator = (Iterator<unknown> | AsyncIterator<unknown>) & object;
type Step = IteratorResult<unknown>;

function isIterator(value: object): value is AnyIterator {
  const { next } = value as Partial<AnyIterator>;
  return typeof next === "function" && (Symbol.iterator in value || Symbol.asyncIterator in value);
}

function isAsyncIterable(value: object): value is AsyncIterable<unknown> {
  return typeof (value as Partial<AsyncIterable<unknown>>)[Symbol.asyncIterator] === "function";
}

/** Generators keep their identity: the three methods that consumers call are replaced on the object itself. */
function watchIterator(iterator: AnyIterator, watch: Watch): AnyIterator {
  const parts = new Parts();
  const replaced = (name: "next" | "return" | "throw") => {
    const method: unknown = iterator[name];
    if (typeof method !== "function") return;
    const step = (...args: unknown[]): unknown => {
      try {
        const result: unknown = watch.within(() => Reflect.apply(method, iterator, args));
        return isObject(result) && isThenable(result) ? result.then(taken as (step: unknown) => Step, thrown) : taken(result as Step);
      } catch (error) {
        return thrown(error);
      }
    };
    const taken = (result: Step): Step => {
      if (!result.done) {
        parts.add(result.value);
      } else if (name === "next") {
        watch.complete({ output: parts.output(result.value), hasFailed: false, isPartial: false });
      } else {
        watch.complete({ output: parts.output(), hasFailed: false, isPartial: true });
      }
      return result;
    };
    const thrown = (error: unknown): never => {
      watch.complete(failed(error, parts.output()));
      throw error;
    };
    Object.defineProperty(iterator, name, { value: step, configurable: true, writable: true });
  };
  try {
    replaced("next");
    replaced("return");
    replaced("throw");
  } catch {
    // A frozen one cannot be watched.
    watch.complete({ hasFailed: false, isPartial: false });
  }
  return iterator;
}

/** As an SDK's stream object, which has more to it than its iteration. */
function watchAsyncIterable(iterable: AsyncIterable<unknown>, watch: Watch): AsyncIterable<unknown> {
  const iterate = iterable[Symbol.asyncIterator];
  try {
    Object.defineProperty(iterable, Symbol.asyncIterator, {
      value(this: unknown) {
        return watchIterator(Reflect.apply(iterate, this, []) as AsyncIterator<unknown>, watch);
      },
      configurable: true,
      writable: true,
    });
  } catch {
    watch.complete({ hasFailed: false, isPartial: false });
  }
  return iterable;
}

// Streams

/** What native code does with a stream cannot be seen from outside, so it gets another one that hands the parts on. */
function watchStream(stream: ReadableStream<unknown>, watch: Watch, parts = new Parts()): ReadableStream<unknown> {
  if (stream.locked) {
    watch.complete({ hasFailed: false, isPartial: false });
    return stream;
  }
  const isOfBytes = hasByteReader(stream);
  const reader = stream.getReader();
  const handedOn: UnderlyingDefaultSource<unknown> = {
      async pull(controller) {
        try {
          const { done, value } = await watch.within(() => reader.read());
          if (done) {
            watch.complete({ output: parts.output(), hasFailed: false, isPartial: false });
            controller.close();
          } else {
            parts.add(value);
            controller.enqueue(value);
          }
        } catch (error) {
          watch.complete(failed(error, parts.output()));
          controller.error(error);
        }
      },
      cancel(reason) {
        // First what stands behind this stream, so that it has ended when this one has.
        const cancelled = reader.cancel(reason);
        watch.complete({ output: parts.output(), hasFailed: false, isPartial: true });
        return cancelled;
      },
    };
  // Nothing is read before somebody wants it.
  const strategy = { highWaterMark: 0 };
  return isOfBytes
    ? new ReadableStream({ ...handedOn, type: "bytes" } as unknown as UnderlyingByteSource, strategy)
    : new ReadableStream(handedOn, strategy);
}

/** Readers of such a stream may bring a buffer of their own. */
function hasByteReader(stream: ReadableStream<unknown>): boolean {
  try {
    stream.getReader({ mode: "byob" }).releaseLock();
    return true;
  } catch {
    return false;
  }
}

function watchResponse(response: Response, watch: Watch): Response {
  const { status } = response;
  if (!response.body || response.bodyUsed) {
    watch.complete({ output: { status }, hasFailed: false, isPartial: false });
    return response;
  }
  const type = response.headers.get("content-type") ?? "";
  const isText = watch.keepsParts !== false && /^text\/|json|xml|urlencoded/.test(type);
  const parts = isText ? new TextParts() : new ByteCount();
  const body = watchStream(
    response.body,
    { ...watch, complete: (completion) => watch.complete({ ...completion, output: { status, body: completion.output } }) },
    parts,
  );
  const copy = new Response(body as ReadableStream<Uint8Array<ArrayBuffer>>, response);
  // What a constructor does not take over.
  for (const name of ["url", "redirected", "type"] as const) {
    if (copy[name] !== response[name]) {
      Object.defineProperty(copy, name, { value: response[name], configurable: true });
    }
  }
  return copy;
}

/** The parts of a stream: texts joined, anything else as a list. */
class Parts {
  readonly #parts: unknown[] = [];
  #more = 0;

  add(part: unknown): void {
    if (this.#parts.length < KEPT_PARTS) {
      this.#parts.push(part);
    } else {
      this.#more++;
    }
  }

  /** With what a generator returned, if it did. */
  output(returned?: unknown): unknown {
    const parts = this.#parts;
    if (parts.length === 0) return returned;
    const more = this.#more > 0 ? [`…[${this.#more} more parts]`] : [];
    const output = parts.every((part) => typeof part === "string") ? parts.concat(more).join("") : parts.concat(more);
    return returned === undefined ? output : { parts: output, returned };
  }
}

/** Bytes of a text. */
class TextParts extends Parts {
  readonly #decoder = new TextDecoder();

  override add(part: unknown): void {
    super.add(part instanceof Uint8Array ? this.#decoder.decode(part, { stream: true }) : part);
  }
}

/** Bytes of anything else, which nobody wants to read. */
class ByteCount extends Parts {
  #bytes = 0;

  override add(part: unknown): void {
    this.#bytes += part instanceof Uint8Array ? part.byteLength : 0;
  }

  override output(): unknown {
    return `[${this.#bytes} bytes]`;
  }
}
