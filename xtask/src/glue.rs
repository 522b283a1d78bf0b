//! The JavaScript that wasm-bindgen writes for the wasm, made into what the package has.

use anyhow::{Context, Result, ensure};

/// As wasm-bindgen writes it for hosts with source phase imports, which few have.
const SOURCE_IMPORT: &str = "import source wasmModule from \"./core_bg.wasm\";\n";
const INSTANTIATE: &str = "\
let wasmInstance = new WebAssembly.Instance(wasmModule, __wbg_get_imports());
let wasm = wasmInstance.exports;
wasm.__wbindgen_start();
";
/// So that `load.ts` can bring what the host gives for `#wasm`, or a user their own.
const INIT: &str = "\
let wasmModule, wasmInstance, wasm;
export function init(module) {
    if (wasm) return;
    wasmModule = module;
    __wbg_reset_state();
}
";
/// What a host function throws goes to the frame that called it. As wasm-bindgen writes it, that is a frame of the
/// instance in use.
const HANDLE_ERROR: &str = "\
function handleError(f, args) {
    try {
        return f.apply(this, args);
    } catch (e) {
        const idx = addToExternrefTable0(e);
        wasm.__wbindgen_exn_store(idx);
    }
}
";
/// A user's getter can have the instance replaced below a frame of the old one. Such a frame would go on with its
/// addresses in the memory of the new instance, so it ends here. No host function that may throw has more than five
/// parameters, and a list made of them in each call would be most of what the call costs.
const HANDLE_ERROR_IN_ITS_INSTANCE: &str = "\
function handleError(f) {
    return (a, b, c, d, e) => {
        const instance = __wbg_instance_id;
        try {
            const ret = f(a, b, c, d, e);
            if (instance === __wbg_instance_id) return ret;
        } catch (e) {
            if (instance === __wbg_instance_id) return wasm.__wbindgen_exn_store(addToExternrefTable0(e));
        }
        throw Error();
    };
}
";
/// What may throw is wrapped when it is imported, not in every call.
const WRAPPED_IN_EACH_CALL: [&str; 2] = ["function() { return handleError(function (", "}, arguments); },"];
const WRAPPED: [&str; 2] = ["handleError(function (", "}),"];

/// Any module: who only reads these types may have no library that declares `WebAssembly`.
const INIT_TYPE: &str = "\nexport function init(module: object): void;\n";

/// What each method asks before it goes into the wasm: the TypeScript layer knows of which instance its objects are
/// (`instance.ts`), and is the only one to replace it.
const GUARDS: [&str; 8] = [
    "        if (this.__wbg_inst !== undefined && this.__wbg_inst !== __wbg_instance_id) {
            throw new Error('Invalid stale object from previous Wasm instance');
        }
",
    "        Object.defineProperty(obj, '__wbg_inst', { value: __wbg_instance_id, writable: true });\n",
    "        Object.defineProperty(this, '__wbg_inst', { value: __wbg_instance_id, writable: true });\n",
    "        __wbg_call_guard();\n",
    "    __wbg_call_guard();\n",
    "    __wbg_reinit_scheduled = false;\n",
    "let __wbg_reinit_scheduled = false;\n",
    "\
function __wbg_call_guard() {
    if (__wbg_reinit_scheduled) {
        __wbg_reset_state();
        return;
    }
}
",
];

/// The cached view of the memory is of its buffer, until it grows.
const IS_VIEW_STALE: [&str; 2] = [
    "cachedDataViewMemory0 === null || cachedDataViewMemory0.buffer.detached === true || \
     (cachedDataViewMemory0.buffer.detached === undefined && cachedDataViewMemory0.buffer !== wasm.memory.buffer)",
    "cachedDataViewMemory0?.buffer !== wasm.memory.buffer",
];

/// Host functions that return a text write where it is, and how long: each with the same lines.
const WRITE_TEXT: [&str; 2] = [
    "            const ptr1 = passStringToWasm0(ret, wasm.__wbindgen_malloc);
            const len1 = WASM_VECTOR_LEN;
            getDataViewMemory0().setInt32((arg0 >>> 0) + 4 * 1, len1, true);
            getDataViewMemory0().setInt32((arg0 >>> 0) + 4 * 0, ptr1, true);
",
    "            var ptr1 = isLikeNone(ret) ? 0 : passStringToWasm0(ret, wasm.__wbindgen_malloc);
            var len1 = WASM_VECTOR_LEN;
            getDataViewMemory0().setInt32((arg0 >>> 0) + 4 * 1, len1, true);
            getDataViewMemory0().setInt32((arg0 >>> 0) + 4 * 0, ptr1, true);
",
];
const WRITTEN_TEXT: &str = "            writeText(arg0 >>> 0, ret);\n";
const WRITE: &str = "\
function writeText(at, text) {
    const ptr = isLikeNone(text) ? 0 : passStringToWasm0(text);
    getDataViewMemory0().setInt32(at + 4, WASM_VECTOR_LEN, true);
    getDataViewMemory0().setInt32(at, ptr, true);
}
";

/// Without `Reflect` it is shorter, and takes half the time.
const REFLECT: [(&str, &str); 3] = [
    ("Reflect.get(arg0, getStringFromWasm0(arg1, arg2))", "arg0[getStringFromWasm0(arg1, arg2)]"),
    (
        "Reflect.set(arg0, getStringFromWasm0(arg1, arg2), getStringFromWasm0(arg3, arg4))",
        "arg0[getStringFromWasm0(arg1, arg2)] = getStringFromWasm0(arg3, arg4)",
    ),
    (
        "Reflect.set(arg0, getStringFromWasm0(arg1, arg2), arg3)",
        "arg0[getStringFromWasm0(arg1, arg2)] = arg3",
    ),
];

/// There is one closure, the driver's, which nobody drops: so its calls need not be counted, and its parameters are known. What it
/// throws is a rejection, which the guard takes for what it is.
const CALLS: [&str; 2] = ["function makeClosure(arg0, arg1, f) {\n", "\n}\n"];
const CALL: &str = "\
function makeClosure(arg0, arg1, f) {
    const instance = __wbg_instance_id;
    return (step, client, id, extra, settled) => {
        if (instance !== __wbg_instance_id) throw Error();
        return f(arg0, arg1, step, client, id, extra, settled);
    };
}
";

/// What an observation says comes in parts, which only the memory of the wasm has together.
const PASS_SAID: [&str; 2] =
    ["passStringToWasm0(said, wasm.__wbindgen_malloc)", "passTextsToWasm0(said, units)"];
const PASS_STRING: [&str; 2] = ["function passStringToWasm0(arg, malloc, realloc) {\n", "\n}\n"];
/// What is read to its end within as many bytes as it has characters is ASCII, and is encoded in place.
const PASS_TEXTS: &str = "\
function passStringToWasm0(text) {
    return passTextsToWasm0([text], text.length);
}
function passTextsToWasm0(texts, length) {
    const ptr = wasm.__wbindgen_malloc(length, 1) >>> 0;
    let at = ptr;
    for (const text of texts) {
        const { read, written } = cachedTextEncoder.encodeInto(text, getUint8ArrayMemory0().subarray(at, ptr + length));
        if (read !== written || read !== text.length) {
            wasm.__wbindgen_free(ptr, length, 1);
            const bytes = cachedTextEncoder.encode(texts.join(\"\"));
            WASM_VECTOR_LEN = bytes.length;
            at = wasm.__wbindgen_malloc(bytes.length, 1) >>> 0;
            getUint8ArrayMemory0().set(bytes, at);
            return at;
        }
        at += written;
    }
    WASM_VECTOR_LEN = length;
    return ptr;
}
";

/// Functions that the wasm calls, none of which has a `this`.
const FUNCTIONS: [(&str, &str); 2] = [(": function(", ": ("), ("handleError(function (", "handleError((")];

/// Requests are sent as the host does it best.
const SEND: [&str; 2] = ["const ret = fetch(", "const ret = send("];
const IMPORT_SEND: &str = "import { send } from \"#process\";\n";

/// The TypeScript layer has observations of its own, which need no garbage collector.
const START_OBSERVATION: [&str; 3] =
    ["    /**\n     * Starts an observation: the root of a new trace", "    }\n", ": Observation;\n"];
const OBSERVATION: [&str; 2] = ["/**\n * An observation. It is recorded when it ends", "\n}\n"];
const OBSERVATIONS: [&str; 2] = ["const ObservationFinalization = ", "});\n"];
const CLOSURES: [&str; 2] = ["const CLOSURE_DTORS = ", "});\n"];

/// What else the package's glue has no use for, and what stands for it.
const SHORTER: [(&str, &str); 10] = [
    // The TypeScript layer's classes have their own.
    ("if (Symbol.dispose) Langfuse.prototype[Symbol.dispose] = Langfuse.prototype.free;\n", ""),
    ("if (Symbol.dispose) Observation.prototype[Symbol.dispose] = Observation.prototype.free;\n", ""),
    // What a text's length was before it was ever read, and a variable that there is not.
    ("    if (typeof numBytesDecoded !== 'undefined') numBytesDecoded = 0;\n", ""),
    ("    if (typeof WASM_VECTOR_LEN !== 'undefined') WASM_VECTOR_LEN = 0;\n", ""),
    (
        "    if (cachedUint8ArrayMemory0 === null || cachedUint8ArrayMemory0.byteLength === 0) {",
        "    if (!cachedUint8ArrayMemory0?.byteLength) {",
    ),
    (
        "    ptr = ptr >>> 0;\n    return getUint8ArrayMemory0().subarray(ptr / 1, ptr / 1 + len);",
        "    return getUint8ArrayMemory0().subarray(ptr >>>= 0, ptr + len);",
    ),
    (
        "    ptr = ptr >>> 0;\n    return decodeText(getUint8ArrayMemory0().subarray(ptr, ptr + len));",
        "    return cachedTextDecoder.decode(getArrayU8FromWasm0(ptr, len));",
    ),
    (
        "cachedTextDecoder.decode();\nfunction decodeText(bytes) {\n    return cachedTextDecoder.decode(bytes);\n}\n",
        "",
    ),
    // Nobody adds modules to those of Object.prototype.
    ("    return {\n        __proto__: null,\n", "    return {\n"),
    ("    const import0 = {\n        __proto__: null,\n", "    const import0 = {\n"),
];

/// The garbage collector has nobody to throw to: an error there ends a Node.js process.
const FINALIZER: &str = "wasm.__wbg_langfuse_free(ptr, 1);";

/// The package's, of what wasm-bindgen has written.
pub(crate) fn adapted(glue: &str) -> Result<String> {
    let mut glue = replace_once(glue, SOURCE_IMPORT, "")?;
    glue = replace_once(&glue, INSTANTIATE, INIT)?;
    glue = replace_once(&glue, HANDLE_ERROR, HANDLE_ERROR_IN_ITS_INSTANCE)?;
    for (in_each_call, wrapped) in WRAPPED_IN_EACH_CALL.into_iter().zip(WRAPPED) {
        glue = glue.replace(in_each_call, wrapped);
    }
    ensure!(
        glue.contains(WRAPPED[0]) && !glue.contains("arguments);"),
        "core.js wraps what may throw in another way: did wasm-bindgen change?"
    );
    ensure!(
        !glue.contains("handleError(function (arg0, arg1, arg2, arg3, arg4, "),
        "a host function that may throw has more parameters than handleError passes on"
    );
    glue = replace_once(&glue, IS_VIEW_STALE[0], IS_VIEW_STALE[1])?;
    for guard in GUARDS {
        ensure!(glue.contains(guard), "core.js does not have `{guard}`: did wasm-bindgen change?");
        glue = glue.replace(guard, "");
    }
    glue = replace_once(&glue, FINALIZER, &format!("try {{ {FINALIZER} }} catch {{}}"))?;
    shorten(&copy_strings_in_bulk(&glue)?)
}

/// What the package's glue has, of the types that wasm-bindgen has written.
pub(crate) fn adapted_types(types: &str) -> Result<String> {
    let [first, _, last] = START_OBSERVATION;
    let types = cut_once(types, first, last)?;
    let [first, last] = OBSERVATION;
    let types = cut_once(&types, first, last)?;
    // wasm-bindgen declares `[Symbol.dispose]`, which the default library of a user's TypeScript lacks.
    Ok(["/// <reference lib=\"esnext.disposable\" />\n", &types, INIT_TYPE].concat())
}

/// wasm-bindgen's glue copies ASCII character by character, with a stand-in for an `encodeInto` that hosts lack.
fn copy_strings_in_bulk(glue: &str) -> Result<String> {
    let glue =
        glue.replace(", wasm.__wbindgen_malloc, wasm.__wbindgen_realloc)", ", wasm.__wbindgen_malloc)");
    let [first, last] = PASS_STRING;
    let glue = cut_once(&glue, first, last)?;
    cut_once(&glue, "if (!('encodeInto' in cachedTextEncoder)) {\n", "\n}\n")
}

/// Says the same in fewer bytes: a Worker downloads them.
fn shorten(glue: &str) -> Result<String> {
    let mut glue = glue.replace("        let ret;\n        ret = ", "        const ret = ");
    for text in WRITE_TEXT {
        ensure!(glue.contains(text), "core.js does not have `{text}`: did wasm-bindgen change?");
        glue = glue.replace(text, WRITTEN_TEXT);
    }
    let [first, last, _] = START_OBSERVATION;
    for [first, last] in [[first, last], OBSERVATION, OBSERVATIONS, CLOSURES, CALLS] {
        glue = cut_once(&glue, first, last)?;
    }
    for (long, short) in SHORTER {
        glue = replace_once(&glue, long, short)?;
    }
    for (through_reflect, directly) in REFLECT {
        ensure!(
            glue.contains(through_reflect),
            "core.js does not have `{through_reflect}`: did wasm-bindgen change?"
        );
        glue = glue.replace(through_reflect, directly);
    }
    glue = replace_once(&glue, SEND[0], SEND[1])?;
    glue = replace_once(&glue, PASS_SAID[0], PASS_SAID[1])?;
    let glue = with_arrows(&glue)?;
    Ok([IMPORT_SEND, &glue, WRITE, CALL, PASS_TEXTS].concat())
}

/// Functions that the wasm no longer calls have their long names still: what called them was an export that nobody uses.
pub(crate) fn without_unused_functions(glue: &str) -> String {
    let mut is_unused = false;
    let mut kept = String::new();
    for line in glue.split_inclusive('\n') {
        is_unused |= line.starts_with("        __wbg_") && line.ends_with("=> {\n");
        if !is_unused {
            kept += line;
        }
        is_unused &= !matches!(line, "        },\n" | "        }),\n");
    }
    kept
}

/// With arrow functions for [`FUNCTIONS`].
fn with_arrows(glue: &str) -> Result<String> {
    let mut lines = Vec::new();
    for line in glue.lines() {
        let begins = FUNCTIONS.iter().find(|(function, _)| line.contains(function));
        lines.push(match begins {
            Some((function, arrow)) => {
                let (before, head) = line.split_once(function).context("it was found")?;
                let head =
                    head.strip_suffix(") {").with_context(|| format!("core.js goes on after `{line}`"))?;
                format!("{before}{arrow}{head}) => {{")
            }
            None => line.to_owned(),
        });
    }
    Ok(lines.join("\n"))
}

/// There has to be one.
pub(crate) fn replace_once(text: &str, from: &str, to: &str) -> Result<String> {
    ensure!(
        text.matches(from).count() == 1,
        "core.js does not have `{from}` exactly once: did wasm-bindgen change?"
    );
    Ok(text.replace(from, to))
}

fn cut_once(text: &str, first: &str, last: &str) -> Result<String> {
    let (before, rest) =
        text.split_once(first).with_context(|| format!("core.js does not have `{first}`"))?;
    let (_, after) = rest.split_once(last).with_context(|| format!("core.js does not have `{last}`"))?;
    ensure!(!after.contains(first), "core.js has `{first}` more than once");
    Ok([before, after].concat())
}
