// Every difference between what arrives from `@langfuse/tracing` 5.11.1 and from us, with its reason. `attributes` has, by program and
// observation, each attribute that differs, as theirs and ours. `isStoredAlike` says that Langfuse makes the same of both.

const absent = undefined;

/** What all observations have. */
export const EVERYWHERE = {
  reason:
    "The client says which one it is, under a scope name that Langfuse treats as its own client's, and the resource is copied into each row, so it is kept small.",
  attributes: {
    "scope.name": ["langfuse-sdk", "langfuse-sdk-edge"],
    "resource: service.name": ["unknown_service", "langfuse-edge"],
    "resource: telemetry.sdk.language": ["nodejs", absent],
    "resource: telemetry.sdk.name": ["opentelemetry", absent],
    "resource: telemetry.sdk.version": ["2.9.0", absent],
  },
};

const failed = (message) => ({
  "status.code": [2, absent],
  "status.message": [message, absent],
  "langfuse.observation.level": [absent, "ERROR"],
  "langfuse.observation.status_message": [absent, message],
});
const input = (theirs, ours) => ({ "langfuse.observation.input": [theirs, ours] });
const UNSERIALIZED = "<failed to serialize>";

export const DIFFERENCES = [
  {
    reason: "A time is text as ISO 8601 has it; theirs is JSON, in quotes, which Langfuse takes off.",
    isStoredAlike: true,
    attributes: {
      "a generation with everything": {
        answer: {
          "langfuse.observation.completion_start_time": ['"2026-01-02T03:04:01.678Z"', "2026-01-02T03:04:01.678Z"],
        },
      },
    },
  },
  {
    reason: "Langfuse does not check costs, and one that is negative or no number can cost it the row.",
    attributes: {
      "costs that are none": {
        refund: { "langfuse.observation.cost_details": ['{"input":0.1,"output":-0.2,"total":null}', '{"input":0.1}'] },
      },
    },
  },
  {
    reason: "The version of a prompt must be an integer: Langfuse servers before the fix of langfuse#16805 fail on a text.",
    attributes: {
      prompts: {
        "in text": { "langfuse.observation.prompt.version": ["4", { int: 4 }] },
        "of no version": { "langfuse.observation.prompt.version": ["new", absent] },
      },
    },
  },
  {
    reason: "An empty text is a value; in metadata theirs drops it, in input and output it does not.",
    attributes: {
      "input and output of every JSON type": { "an empty string": { "langfuse.observation.metadata.value": [absent, ""] } },
      metadata: { flat: { "langfuse.observation.metadata.empty": [absent, ""] } },
    },
  },
  {
    reason: "What JSON has no form for is said in words rather than lost, and one such value does not take the others with it.",
    attributes: {
      "values that JSON cannot tell": {
        "a circle": input(UNSERIALIZED, '{"name":"circle","self":"[Circular]"}'),
        "a big integer": input(UNSERIALIZED, "12"),
        "a big integer within": input(UNSERIALIZED, '{"n":"12"}'),
        "a getter that throws": input(UNSERIALIZED, '{"ok":1,"bad":"[no]"}'),
        "an error": input("{}", '{"name":"TypeError","message":"no"}'),
        "a map": input("{}", '{"a":1}'),
        "a set": input("{}", "[1,2]"),
        bytes: input('{"0":1,"1":2,"2":3}', '"[Uint8Array: 3 bytes]"'),
        "a function": input(absent, "[Function: named]"),
        "a function within": input("{}", '{"f":"[Function: f]"}'),
        "a symbol": input(absent, "Symbol(s)"),
      },
    },
  },
  {
    reason: "Langfuse drops metadata that is no object, without a word, and numbers a list's elements; ours goes under a name.",
    attributes: {
      "metadata that is no object": {
        text: { "langfuse.observation.metadata": ["text", absent], "langfuse.observation.metadata.value": [absent, "text"] },
        number: { "langfuse.observation.metadata": ["5", absent], "langfuse.observation.metadata.value": [absent, "5"] },
        list: {
          "langfuse.observation.metadata": ['["a","b"]', absent],
          "langfuse.observation.metadata.value": [absent, '["a","b"]'],
        },
      },
    },
  },
  {
    reason: "Langfuse writes or drops these names itself, so that a user's value would be lost or take the place of its own.",
    attributes: {
      "metadata of names that Langfuse uses itself": {
        taken: {
          "langfuse.observation.metadata.scope": ["a", absent],
          "langfuse.observation.metadata.scope_": [absent, "a"],
          "langfuse.observation.metadata.resourceAttributes": ["b", absent],
          "langfuse.observation.metadata.resourceAttributes_": [absent, "b"],
          "langfuse.observation.metadata.attributes": ["c", absent],
          "langfuse.observation.metadata.attributes_": [absent, "c"],
          "langfuse.observation.metadata.constructor": ["d", absent],
          "langfuse.observation.metadata.constructor_": [absent, "d"],
        },
      },
    },
  },
  {
    reason: "An error is said in Langfuse's own attributes, as theirs does in `observe`; there is no span status beside them.",
    isStoredAlike: true,
    attributes: {
      "active observations that their caller ends": { failed: failed("no") },
      "errors in active observations": {
        sync: failed("bad type"),
        async: failed("late"),
        outer: failed("deep"),
        inner: failed("deep"),
      },
    },
  },
  {
    reason: "What is thrown says what it is, as it does from observed functions, where theirs and ours are the same.",
    attributes: {
      "errors in active observations": {
        "not an error": {
          ...failed("a string"),
          "status.message": ["Unknown error", absent],
        },
        "without a message": {
          ...failed("Function threw an error"),
          "status.message": [absent, absent],
        },
      },
    },
  },
  {
    reason: "The error that ended it says more than what it said before; theirs keeps the error in a status that Langfuse does not look at.",
    attributes: {
      "errors in active observations": {
        "with a level of its own": {
          "status.code": [2, absent],
          "status.message": ["theirs", absent],
          "langfuse.observation.level": ["WARNING", "ERROR"],
          "langfuse.observation.status_message": ["mine", "theirs"],
        },
      },
    },
  },
  {
    reason: "An argument is an argument, also when it counts as false.",
    attributes: {
      "observed functions that take what counts as false": {
        zero: input(absent, "0"),
        no: input(absent, "false"),
        empty: input(absent, ""),
      },
    },
  },
  {
    reason: "The output of a generator is what it gave, and of any thenable what it came to; theirs ends before either.",
    attributes: {
      "an observed generator": { count: { "langfuse.observation.output": ["{}", "[1,2,3]"] } },
      "an observed function whose promise is not a Promise": { query: { "langfuse.observation.output": ["{}", "value"] } },
    },
  },
  {
    reason: "A parent that is given by its ids is taken to be in another process: a child of one of this process is started from it.",
    attributes: {
      times: { event: { "langfuse.internal.is_app_root": [absent, true] } },
      "a parent of this process, by its ids": { child: { "langfuse.internal.is_app_root": [absent, true] } },
    },
  },
  {
    reason: "A child is none of its trace's roots, also when its parent has ended; theirs forgets its parents when they end.",
    attributes: {
      "a child of one that has ended": { child: { "langfuse.internal.is_app_root": [true, absent] } },
    },
  },
  {
    reason: "What an observation says itself goes before what its trace says, in whatever order they were said.",
    attributes: {
      "attributes of the trace and of the observation": { "own first": { "langfuse.version": ["trace", "own"] } },
    },
  },
  {
    reason: "A child says what its parent says of the trace, wherever it is started: Langfuse finds by user or tag only the rows that say them.",
    attributes: {
      "a child started outside of what its parent was started in": {
        child: { "user.id": [absent, "user-1"], "langfuse.trace.tags": [absent, ["a"]] },
        "child within another": { "user.id": [absent, "user-1"], "langfuse.trace.tags": [absent, ["a"]] },
      },
    },
  },
  {
    reason: "A mask sees every text that could hold a secret; theirs lets the values of metadata and the status message pass.",
    attributes: {
      "a mask": {
        masked: {
          "langfuse.observation.metadata.a": ["secret", "***"],
          "langfuse.observation.status_message": ["secret", "***"],
        },
      },
    },
  },
];
