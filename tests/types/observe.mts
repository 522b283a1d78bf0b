// What compiles and what must not: each `@ts-expect-error` is an error of the compiler's when its line has none.
import type { CompletionUsage } from "openai/resources/completions";
import {
  Langfuse,
  maskPatterns,
  observe,
  propagateAttributes,
  startActiveObservation,
  startObservation,
  updateActiveObservation,
  type AttributesOf,
  type Observation,
  type ObservationType,
} from "langfuse-edge";

/** Compiles when the value is of exactly this type. */
function is<Expected>() {
  return <Actual,>(_: Actual, ..._same: Same<Expected, Actual> extends true ? [] : [never]) => {};
}
type Same<A, B> = (<T,>() => T extends A ? 1 : 2) extends <T,>() => T extends B ? 1 : 2 ? true : false;

const langfuse = new Langfuse({ mask: ({ data }) => data.toUpperCase() });
declare const usage: CompletionUsage;
declare const anyType: ObservationType;

// Attributes belong to kinds.
const GENERATION = { model: "m", modelParameters: { temperature: 0 }, usageDetails: { input: 1 }, costDetails: { total: 0.1 } };
for (const start of [startObservation, langfuse.startObservation.bind(langfuse)] as const) {
  start("a", { input: 1, output: [2], metadata: { a: 1 }, level: "WARNING", statusMessage: "s", version: "1", environment: "e" });
}
startObservation("a", GENERATION, { asType: "generation" });
startObservation("a", { ...GENERATION, prompt: { name: "p", version: 1 }, completionStartTime: new Date() }, { asType: "embedding" });
startObservation("a", { usageDetails: usage }, { asType: "generation" });
startObservation("a", { model: "m" }, { asType: anyType });
startObservation("a", null, null);
startObservation("a", {}, { parentSpanContext: { traceId: "t", spanId: "s" }, startTime: new Date(), client: langfuse });
startObservation("a", {}, { parentSpanContext: "00-…", startTime: 1 });
// @ts-expect-error A span has no model.
startObservation("a", { model: "m" });
// @ts-expect-error nor has it usage.
startObservation("a", { usageDetails: { input: 1 } }, { asType: "span" });
// @ts-expect-error A tool has no model.
langfuse.startObservation("a", { model: "m" }, { asType: "tool" });
// @ts-expect-error A retriever has no costs.
startObservation("root").startObservation("a", { costDetails: { total: 1 } }, { asType: "retriever" });
// @ts-expect-error An event has no prompt.
startObservation("a", { prompt: { name: "p", version: 1 } }, { asType: "event" });
// @ts-expect-error There is no such kind.
startObservation("a", {}, { asType: "llm" });
// @ts-expect-error There is no such level.
startObservation("a", { level: "error" });
// @ts-expect-error There is no such attribute.
startObservation("a", { inputs: 1 });
// @ts-expect-error Metadata has names.
startObservation("a", { metadata: "m" });
// @ts-expect-error Costs are numbers.
startObservation("a", { costDetails: { total: "1" } }, { asType: "generation" });
// @ts-expect-error Usage is numbers.
startObservation("a", { usageDetails: { input: "1" } }, { asType: "generation" });
// @ts-expect-error Parameters are texts or numbers.
startObservation("a", { modelParameters: { stop: ["x"] } }, { asType: "generation" });
// @ts-expect-error A context has two ids.
startObservation("a", {}, { parentSpanContext: { traceId: "t" } });

// Observations know what they stand for.
const span = startObservation("a");
const generation = span.startObservation("b", { model: "m" }, { asType: "generation" });
is<Observation<"span">>()(span);
is<"generation">()(generation.type);
is<Observation<"generation">>()(generation.update({ model: "m" }).update({ output: 1 }));
// @ts-expect-error A span has no model.
span.update({ model: "m" });
// @ts-expect-error An event has ended when it starts.
startObservation("a", {}, { asType: "event" }).update({ output: 1 });
// @ts-expect-error It is read only.
span.id = "x";
const some: Observation[] = [span, generation];
some[0]?.update({ output: 1 }).end();
const attributes: AttributesOf<"agent"> = { input: 1 };
startObservation("a", attributes, { asType: "agent" });

// Results keep their types.
is<number>()(startActiveObservation("a", () => 1));
is<Promise<string>>()(startActiveObservation("a", async () => "x"));
is<Response>()(startActiveObservation("a", () => new Response()));
is<AsyncGenerator<number, void, unknown>>()(startActiveObservation("a", async function* () { yield 1; }));
startActiveObservation("a", (own) => is<Observation<"span">>()(own));
startActiveObservation("a", (own) => own.update({ model: "m" }), { asType: "generation", endOnExit: false });
// @ts-expect-error A span has no model.
startActiveObservation("a", (own) => own.update({ model: "m" }));
// @ts-expect-error nor has a chain.
startActiveObservation("a", (own) => own.update({ model: "m" }), { asType: "chain" });
is<string>()(propagateAttributes({ userId: "u", tags: ["t"], metadata: { k: "v" }, prompt: { name: "p", version: "1" } }, () => "x"));
// @ts-expect-error Propagated metadata is text.
propagateAttributes({ metadata: { k: 1 } }, () => {});
// @ts-expect-error Tags are a list.
propagateAttributes({ tags: "t" }, () => {});

updateActiveObservation({ output: 1 });
updateActiveObservation({ model: "m" }, { asType: "generation" });
// @ts-expect-error A span has no model.
updateActiveObservation({ model: "m" });

// Observed functions keep their types: parameters, overloads, generics, `this`, properties.
function overloaded(value: string): string;
function overloaded(value: number, more: boolean): number;
function overloaded(value: string | number): string | number {
  return value;
}
const wrapped = observe(overloaded, { name: "n", asType: "tool", captureInput: false });
is<typeof overloaded>()(wrapped);
is<string>()(wrapped("a"));
is<number>()(wrapped(1, true));
// @ts-expect-error No overload takes one number.
wrapped(1);
const first = observe(<T,>(list: readonly T[]): T | undefined => list[0]);
is<number | undefined>()(first([1, 2]));
const method = observe(function (this: { factor: number }, value: number) { return this.factor * value; });
is<number>()(method.call({ factor: 2 }, 1));
// @ts-expect-error It is called on something.
method(1);
is<number>()(observe(Object.assign(() => 1, { extra: 5 })).extra);
// @ts-expect-error Only functions are observed.
observe({ run() {} });
// @ts-expect-error There is no such option.
observe(() => 1, { title: "t" });

// Masks are synchronous functions of a text.
new Langfuse({ mask: maskPatterns("email", "key", "card") });
Langfuse.fromEnv({}, { mask: maskPatterns() });
// @ts-expect-error It gives a text.
new Langfuse({ mask: async ({ data }) => data });
// @ts-expect-error There is no such pattern.
maskPatterns("phone");
