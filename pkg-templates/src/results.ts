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
  /** Runs a part of the result's code, such as a step of a generator, in the context the function was called in. */
  within<R>(run: () => R): R;
  /** Whether anybody wants the parts of a stream. */
  keepsParts: boolean;
  /** Is called with each part of a stream that is consumed. */
  part?(part: unknown): void;
}

interface Watching extends Watch {
  /** What the caller gets in the place of what, so that a promise that is awaited twice gives the same twice. */
  replacements: WeakMap<object, unknown>;
}

/** So many parts of a stream are kept for the output; those beyond are counted. */
const KEPT_PARTS = 10_000;
/** Parts beyond so many characters of text are counted as well: an output has 1 MiB at most. */
const KEPT_TEXT = 1_000_000;

/** Gives `result`, or what behaves as it does, and completes the watch when it is complete. */
export function watched<Result>(result: Result, watch: Watch): Result {
  let isComplete = false;
  const complete = (completion: Completion) => {
    if (!isComplete) {
      isComplete = true;
      watch.complete(completion);
    }
  };
  return watchAny(result, { ...watch, complete, replacements: new WeakMap() }) as Result;
}

function watchAny(result: unknown, watch: Watching): unknown {
  const watcher = watcherOf(result);
  if (!watcher) {
    watch.complete(whole(result));
    return result;
  }
  const known = watch.replacements.get(result as object);
  if (known) return known;
  const replacement = watcher(result as never, watch);
  watch.replacements.set(result as object, replacement);
  return replacement;
}

type Watcher = (result: never, watch: Watching) => unknown;

/** What can watch a result that is not complete yet. */
function watcherOf(result: unknown): Watcher | undefined {
  if (!isObject(result)) return;
  try {
    if (isThenable(result)) return watchThenable;
    if (typeof result === "function") return;
    // By their names as well, because those of another realm are no instances of this one's classes.
    const name = Object.prototype.toString.call(result);
    if (result instanceof ReadableStream || name === "[object ReadableStream]") return watchStream;
    if (result instanceof Response || name === "[object Response]") return watchResponse;
    if (isIterator(result)) return watchIterator;
    if (isAsyncIterable(result)) return watchAsyncIterable;
  } catch {
    // A getter or a proxy that throws: nothing to wait for.
  }
  return;
}

const isObject = (value: unknown): value is object =>
  (typeof value === "object" && value !== null) || typeof value === "function";

const whole = (output: unknown): Completion => ({ output, hasFailed: false, isPartial: false });
const partial = (output: unknown): Completion => ({ output, hasFailed: false, isPartial: true });
const failure = (error: unknown, output?: unknown): Completion => ({ output, error, hasFailed: true, isPartial: false });

/** Absent on some hosts, and made on first use, so that importing this module does nothing. */
let forgotten: FinalizationRegistry<() => void> | undefined;

/**
 * Calls `stopped` when nobody can take another step: the consumer has dropped the result without a word, or was a request to a
 * Worker whose client has gone, of which nothing runs any more.
 */
function whenForgotten(object: object, stopped: () => void): void {
  if (typeof FinalizationRegistry === "function") {
    forgotten ??= new FinalizationRegistry((stopped) => stopped());
    forgotten.register(object, stopped);
  }
}

// Promises

type Thenable = PromiseLike<unknown> & object;

function isThenable(value: object): value is Thenable {
  return typeof (value as Partial<Thenable>).then === "function";
}

function watchThenable(thenable: Thenable, watch: Watching): unknown {
  const fulfilled = (value: unknown) => watchAny(value, watch);
  const rejected = (error: unknown): never => {
    watch.complete(failure(error));
    throw error;
  };
  if (!(thenable instanceof Promise) || thenable.then !== Promise.prototype.then) {
    return watchLazy(thenable, watch, (onFulfilled, onRejected) =>
      thenable.then(
        (value) => (onFulfilled ? onFulfilled(fulfilled(value)) : fulfilled(value)),
        (error: unknown) => {
          watch.complete(failure(error));
          if (!onRejected) throw error;
          return onRejected(error);
        },
      ),
    );
  }
  const settled = thenable.then(fulfilled, rejected);
  // One with methods or properties of its own keeps them.
  return Object.getPrototypeOf(thenable) === Promise.prototype && Object.keys(thenable).length === 0
    ? settled
    : facade(thenable, promiseMethods((...handlers) => settled.then(...handlers)));
}

type Handler = ((value: unknown) => unknown) | null | undefined;
type Then = (onFulfilled?: Handler, onRejected?: Handler) => PromiseLike<unknown>;

/**
 * One that may do nothing until somebody asks for its value, as an SDK's or a query: so nobody else asks. Its own methods
 * may be how the caller asks.
 */
function watchLazy(thenable: Thenable, watch: Watching, then: Then): unknown {
  const asked = (value: unknown) => (watcherOf(value) ? watchAny(value, watch) : value);
  // Of the SDKs that Stainless makes: the value beside its response.
  const withResponse = (method: Function) => async () => {
    try {
      const answer = (await Reflect.apply(method, thenable, [])) as { data: unknown };
      return { ...answer, data: watchAny(answer.data, watch) };
    } catch (error) {
      watch.complete(failure(error));
      throw error;
    }
  };
  return facade(thenable, { ...promiseMethods(then), withResponse }, asked);
}

type Methods = Record<PropertyKey, (method: Function) => (...args: never[]) => unknown>;

/** What promises have beside `then` is made of it. */
function promiseMethods(then: Then): Methods {
  return {
    then: () => then,
    catch: () => (onRejected: Handler) => then(undefined, onRejected),
    finally: () => (onFinally: unknown) =>
      typeof onFinally === "function"
        ? then(
            async (value) => {
              await onFinally();
              return value;
            },
            async (error) => {
              await onFinally();
              throw error;
            },
          )
        : then(),
  };
}

/** Looks and works like `target`, but for some methods, which it has only where `target` has them. */
function facade<T extends object>(target: T, methods: Methods, given = (value: unknown) => value): T {
  // A proxy may not differ from a property that cannot change, so it is not one of `target` itself then.
  const shadow = Object.isExtensible(target) ? target : (Object.create(target) as T);
  const proxy = new Proxy(shadow, {
    get(_, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== "function" || name === "constructor") return value;
      const method = Object.hasOwn(methods, name) ? methods[name] : undefined;
      if (method) return method(value);
      // What can be called itself, such as a promise of Workers RPC, may have properties that can.
      if (typeof target === "function") return value;
      return (...args: unknown[]) => {
        const result: unknown = Reflect.apply(value, target, args);
        return result === target ? proxy : given(result);
      };
    },
    set: (_, name, value) => Reflect.set(target, name, value, target),
  });
  return proxy;
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

/** How far the consumer of an iterator has come. */
class Iteration {
  readonly #watch: Watching;
  readonly #signal: AbortSignal | undefined;
  readonly parts: Parts;
  /** Steps under way: how they end says how the iteration does. */
  #steps = 0;

  /** `signal` is aborted when the consumer or the iterator gives up. */
  constructor(watch: Watching, signal?: AbortSignal) {
    this.#watch = watch;
    this.#signal = signal;
    this.parts = new Parts(watch);
    signal?.addEventListener("abort", () => this.#steps === 0 && this.stopped());
  }

  step(take: () => unknown, isNext: boolean): unknown {
    this.#steps++;
    const taken = (result: Step): Step => {
      this.#steps--;
      if (!result.done) {
        this.parts.add(result.value);
      } else if (isNext && !this.#signal?.aborted) {
        this.ended(result.value);
      } else {
        this.stopped();
      }
      return result;
    };
    const thrown = (error: unknown): never => {
      this.#steps--;
      this.failed(error);
      throw error;
    };
    let result;
    try {
      result = this.#watch.within(take);
    } catch (error) {
      return thrown(error);
    }
    return isObject(result) && isThenable(result) ? result.then(taken as (result: unknown) => Step, thrown) : taken(result as Step);
  }

  ended(returned?: unknown): void {
    this.#watch.complete(whole(this.parts.output(returned)));
  }

  readonly stopped = (): void => {
    this.#watch.complete(partial(this.parts.output()));
  };

  failed(error: unknown): void {
    this.#watch.complete(failure(error, this.parts.output()));
  }
}

/** Iterators keep their identity: the methods that consumers call are replaced on the object itself. */
function watchIterator(iterator: AnyIterator, watch: Watching, iteration = new Iteration(watch)): AnyIterator {
  const isAsync = Symbol.asyncIterator in iterator || !(Symbol.iterator in iterator);
  const step = (method: Function, isNext: boolean) => (...args: unknown[]) =>
    iteration.step(() => Reflect.apply(method, iterator, args) as unknown, isNext);
  // Without it nobody would know that the consumer has left.
  const leave = (value?: unknown): unknown => {
    iteration.stopped();
    const result = { done: true, value };
    return isAsync ? Promise.resolve(result) : result;
  };
  const next = (method: Function) => {
    const taken = step(method, true);
    whenForgotten(taken, iteration.stopped);
    return taken;
  };
  const methods: Methods = { next };
  for (const name of ["return", "throw"] as const) {
    if (typeof iterator[name] === "function") {
      methods[name] = (method) => step(method, false);
    } else if (name === "return") {
      methods[name] = () => leave;
    }
  }
  return replaced(iterator, methods);
}

/** The events by which streams of Node.js and of SDKs hand on their parts. */
const PART_EVENTS = ["data", "chunk", "event", "streamEvent"];

/** As an SDK's or Node.js's stream object, which has more to it than its iteration. */
function watchAsyncIterable(iterable: AsyncIterable<unknown>, watch: Watching): AsyncIterable<unknown> {
  const { iterator, controller } = iterable as { iterator?: unknown; controller?: Partial<AbortController> };
  const signal = controller?.signal instanceof AbortSignal ? controller.signal : undefined;
  const iterate = (method: Function) =>
    function (this: unknown, ...args: unknown[]) {
      const own: unknown = Reflect.apply(method, this === watched ? iterable : this, args);
      if (!isObject(own) || watch.replacements.has(own)) return own;
      const iteration = watchIterator(own as AnyIterator, watch, new Iteration(watch, signal));
      watch.replacements.set(iteration, iteration);
      return iteration;
    };
  const methods: Methods = { [Symbol.asyncIterator]: iterate };
  // What `tee` of such a stream uses.
  if (typeof iterator === "function" && Object.hasOwn(iterable, "iterator")) methods["iterator"] = iterate;
  const events = new Iteration(watch);
  for (const name of ["emit", "_emit"]) {
    if (typeof (iterable as unknown as Record<string, unknown>)[name] === "function") {
      methods[name] = (emit) =>
        function (this: unknown, event: unknown, ...args: unknown[]) {
          if (PART_EVENTS.includes(event as string)) events.parts.add(args[0]);
          else if (event === "end") events.ended();
          else if (event === "error") events.failed(args[0]);
          else if (event === "close" || event === "abort") events.stopped();
          return Reflect.apply(emit, this, [event, ...args]) as unknown;
        };
    }
  }
  const watched = replaced(iterable, methods);
  return watched;
}

/** The object with other methods; where it does not take them, what looks like it. */
function replaced<T extends object>(object: T, methods: Methods): T {
  const names = Reflect.ownKeys(methods);
  try {
    const own = names.map((name) => {
      const value = methods[name]?.((object as Record<PropertyKey, Function>)[name] as Function);
      return [name, { value, configurable: true, writable: true }] as const;
    });
    return Object.defineProperties(object, Object.fromEntries(own));
  } catch {
    return facade(object, methods);
  }
}

// Streams

/** What native code does with a stream cannot be seen from outside, so it gets another one that hands the parts on. */
function watchStream(stream: ReadableStream<unknown>, watch: Watching): ReadableStream<unknown> {
  if (stream.locked) {
    watch.complete(whole(undefined));
    return stream;
  }
  const parts = new Parts(watch);
  const stopped = stopping(watch, parts);
  let reader: ReadableStreamDefaultReader<unknown> | undefined;
  let byteReader: ReadableStreamBYOBReader | undefined;
  /** Locks it when somebody reads, and not before. */
  const read = (buffer?: ArrayBufferView | null): Promise<ReadableStreamReadResult<unknown>> => {
    if (buffer) {
      reader?.releaseLock();
      reader = undefined;
      byteReader ??= stream.getReader({ mode: "byob" });
      return byteReader.read(new Uint8Array(buffer.byteLength));
    }
    byteReader?.releaseLock();
    byteReader = undefined;
    reader ??= stream.getReader();
    return reader.read();
  };
  const source = {
    async pull(controller: ReadableStreamDefaultController<unknown> & Partial<ReadableByteStreamController>) {
      let step;
      try {
        step = await watch.within(() => read(controller.byobRequest?.view));
      } catch (error) {
        watch.complete(failure(error, parts.output()));
        throw error;
      }
      if (step.done) {
        watch.complete(whole(parts.output()));
        controller.close();
        // Of a reader that waits with a buffer of its own.
        controller.byobRequest?.respond(0);
      } else {
        parts.add(step.value);
        controller.enqueue(step.value);
      }
    },
    cancel(reason: unknown) {
      // First what stands behind this stream, so that it has ended when this one has.
      const cancelled = (reader ?? byteReader ?? stream).cancel(reason);
      stopped();
      return cancelled;
    },
  };
  // Nothing is read before somebody wants it.
  const strategy = { highWaterMark: 0 };
  const copy = hasByteReader(stream)
    ? new ReadableStream({ ...source, type: "bytes" } as UnderlyingByteSource, strategy)
    : new ReadableStream(source, strategy);
  whenForgotten(copy, stopped);
  return alike(copy, stream);
}

/** By itself, because it must not keep the stream that it waits for. */
const stopping = (watch: Watching, parts: Parts) => () => watch.complete(partial(parts.output()));

/** Readers of such a stream may bring a buffer of their own. */
function hasByteReader(stream: ReadableStream<unknown>): boolean {
  try {
    stream.getReader({ mode: "byob" }).releaseLock();
    return true;
  } catch {
    return false;
  }
}

function watchResponse(response: Response, watch: Watching): Response {
  const { status, body } = response;
  if (!body || body.locked || response.bodyUsed) {
    watch.complete(whole({ status }));
    return response;
  }
  const stream = watchStream(body, {
    ...watch,
    complete: (completion) => watch.complete({ ...completion, output: { status, body: completion.output } }),
  });
  return alikeResponse(new Response(stream as ReadableStream<Uint8Array<ArrayBuffer>>, response), response);
}

/** With what a constructor does not take over. */
function alikeResponse(copy: Response, original: Response): Response {
  const clone = () => alikeResponse(Response.prototype.clone.call(copy), original);
  Object.defineProperty(copy, "clone", { value: clone, configurable: true, writable: true });
  for (const name of ["url", "redirected", "type"] as const) {
    if (copy[name] !== original[name]) {
      Object.defineProperty(copy, name, { value: original[name], configurable: true });
    }
  }
  return alike(copy, original);
}

/** With the class of the original, and the properties that the host does not know of. */
function alike<T extends object>(copy: T, original: T): T {
  Object.setPrototypeOf(copy, Object.getPrototypeOf(original) as object);
  for (const name of Reflect.ownKeys(original)) {
    if (!Object.hasOwn(copy, name)) {
      Object.defineProperty(copy, name, Object.getOwnPropertyDescriptor(original, name) as PropertyDescriptor);
    }
  }
  return copy;
}

/** The parts of a stream: texts joined, bytes as text where they are, anything else as a list. */
class Parts {
  readonly #watch: Watch;
  readonly #decoder = new TextDecoder("utf-8", { fatal: true });
  #parts: unknown[] = [];
  #characters = 0;
  #more = 0;
  #bytes = 0;
  #isBinary = false;

  constructor(watch: Watch) {
    this.#watch = watch;
  }

  add(part: unknown): void {
    this.#watch.part?.(part);
    if (!this.#watch.keepsParts) return;
    const bytes = part instanceof Uint8Array ? part : undefined;
    this.#bytes += bytes?.byteLength ?? 0;
    if (this.#isBinary) return;
    if (this.#parts.length >= KEPT_PARTS || this.#characters >= KEPT_TEXT) {
      this.#more++;
      return;
    }
    // Decoded now: who reads bytes may use their buffer for others.
    const kept = bytes ? this.#text(bytes) : part;
    this.#characters += typeof kept === "string" ? kept.length : 0;
    this.#parts.push(kept);
  }

  /** With what a generator returned, if it did. */
  output(returned?: unknown): unknown {
    if (this.#isBinary) return `[${this.#bytes} bytes]`;
    const parts = this.#parts;
    if (parts.length === 0) return returned;
    const more = this.#more > 0 ? [`…[${this.#more} more parts]`] : [];
    const output = parts.every((part) => typeof part === "string") ? parts.concat(more).join("") : parts.concat(more);
    return returned === undefined ? output : { parts: output, returned };
  }

  #text(bytes: Uint8Array): string {
    try {
      return this.#decoder.decode(bytes, { stream: true });
    } catch {
      this.#isBinary = true;
      this.#parts = [];
      return "";
    }
  }
}
