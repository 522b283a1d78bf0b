//! `cargo xtask dist`: the npm package, in `pkg/`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use xshell::{Shell, cmd};

use crate::project::Project;
use crate::setup::Tools;
use crate::{exports, panics, progress, timed};

/// gzip -9 of the JavaScript and the wasm of a Worker that makes one trace, in bytes.
const MINIMAL_WORKER_BUDGET: usize = 40_000;

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
/// Any module: who only reads these types may have no library that declares `WebAssembly`.
const INIT_TYPE: &str = "\nexport function init(module: object): void;\n";

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
/// addresses in the memory of the new instance, so it ends here.
const HANDLE_ERROR_IN_ITS_INSTANCE: &str = "\
function handleError(f) {
    return (...args) => {
        const instance = __wbg_instance_id;
        try {
            const ret = f(...args);
            if (instance === __wbg_instance_id) return ret;
        } catch (e) {
            if (instance === __wbg_instance_id) return wasm.__wbindgen_exn_store(addToExternrefTable0(e));
        }
        throw Error();
    };
}
";
/// What may throw is wrapped when it is imported, rather than in every call, of which an observation makes dozens.
const WRAPPED_IN_EACH_CALL: [&str; 2] = ["function() { return handleError(function (", "}, arguments); },"];
const WRAPPED: [&str; 2] = ["handleError(function (", "}),"];

const ENCODE: &str = "        const buf = cachedTextEncoder.encode(arg);
        const ptr = malloc(buf.length, 1) >>> 0;
";
/// What is read to its end within as many bytes as it has characters is ASCII.
const ENCODE_IN_PLACE: &str = "\
        const { length } = arg;
        let ptr = wasm.__wbindgen_malloc(length, 1) >>> 0;
        WASM_VECTOR_LEN = length;
        if (cachedTextEncoder.encodeInto(arg, getUint8ArrayMemory0().subarray(ptr, ptr + length)).read === length) return ptr;
        wasm.__wbindgen_free(ptr, length, 1);
        const buf = cachedTextEncoder.encode(arg);
        ptr = malloc(buf.length, 1) >>> 0;
";

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

/// Of a class that the TypeScript layer does not use it for: it has `takeOver`.
const UPDATE: [&str; 2] = ["    update(attributes) {\n", "    }\n"];
const CLOSURES: [&str; 2] = ["const CLOSURE_DTORS = ", "});\n"];

/// Each class has its registry, on hosts that have registries.
const REGISTRY: [&str; 2] = [
    "(typeof FinalizationRegistry === 'undefined')
    ? { register: () => {}, unregister: () => {} }
    : new FinalizationRegistry(",
    "registryOf(",
];
const REGISTRY_OF: &str = "\
function registryOf(collected) {
    return typeof FinalizationRegistry === 'undefined' ? { register() {}, unregister() {} } : new FinalizationRegistry(collected);
}
";

/// What else the package's glue has no use for, and what stands for it.
const SHORTER: [(&str, &str); 15] = [
    // The TypeScript layer's classes have their own.
    ("if (Symbol.dispose) Langfuse.prototype[Symbol.dispose] = Langfuse.prototype.free;\n", ""),
    ("if (Symbol.dispose) Observation.prototype[Symbol.dispose] = Observation.prototype.free;\n", ""),
    // What a text's length was before it was ever read, and a variable that there is not.
    ("    if (typeof numBytesDecoded !== 'undefined') numBytesDecoded = 0;\n", ""),
    ("    if (typeof WASM_VECTOR_LEN !== 'undefined') WASM_VECTOR_LEN = 0;\n", ""),
    // There is one allocator, and no reallocation any more.
    (
        "function passStringToWasm0(arg, malloc, realloc) {\n    if (realloc === undefined) {\n",
        "function passStringToWasm0(arg) {\n    {\n",
    ),
    (
        "        ptr = malloc(buf.length, 1) >>> 0;\n",
        "        ptr = wasm.__wbindgen_malloc(buf.length, 1) >>> 0;\n",
    ),
    // What this throws is a rejection, which the guard takes for what it is.
    ("new Error('Cannot invoke closure from previous WASM instance')", "Error()"),
    // The one closure belongs to a client, which frees it.
    ("            CLOSURE_DTORS.unregister(state);\n", ""),
    ("    CLOSURE_DTORS.register(real, state, state);\n", ""),
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
const FINALIZERS: [&str; 2] = ["wasm.__wbg_langfuse_free(ptr, 1);", "wasm.__wbg_observation_free(ptr, 1);"];

const MINIMAL_WORKER: &str = r#"
import { Langfuse } from "langfuse-edge";

export default {
  async fetch(request, env, ctx) {
    const langfuse = new Langfuse({ publicKey: env.LANGFUSE_PUBLIC_KEY, secretKey: env.LANGFUSE_SECRET_KEY });
    langfuse.startObservation("request").end();
    ctx.waitUntil(langfuse.flush());
    return new Response("ok");
  },
};
"#;

/// The same for the entry with the surface of version 3: without a budget, because only its users pay for it.
const MINIMAL_V3_WORKER: &str = r#"
import { Langfuse } from "langfuse-edge/v3";

export default {
  async fetch(request, env, ctx) {
    const langfuse = new Langfuse({ publicKey: env.LANGFUSE_PUBLIC_KEY, secretKey: env.LANGFUSE_SECRET_KEY });
    langfuse.trace({ name: "request" });
    ctx.waitUntil(langfuse.flushAsync());
    return new Response("ok");
  },
};
"#;

pub(crate) fn run(project: &Project, tools: &Tools) -> Result<()> {
    build(project, tools)?;
    sizes(project)
}

pub(crate) fn build(project: &Project, tools: &Tools) -> Result<()> {
    let sh = &project.sh;
    let pkg = project.root.join("pkg");
    let dist = pkg.join("dist");
    let wasm = timed("dist", "compiling the core to wasm", || compile(project, tools))?;
    sh.remove_path(&pkg)?;
    timed("dist", "generating the JavaScript glue", || generate_glue(sh, tools, &wasm, &dist))?;
    timed("dist", "optimizing the wasm", || optimize(project, &dist))?;
    timed("dist", "compiling the TypeScript layer", || typescript(project, &dist))?;
    timed("dist", "writing the package", || package(project, &pkg))?;
    timed("dist", "checking the package", || {
        let publint = project.npm_bin("publint");
        Ok(cmd!(sh, "{publint} {pkg} --strict").quiet().run()?)
    })?;
    link(project)
}

/// What somebody gets who runs `wasm-pack build` in this repository by hand.
pub(crate) fn bare_package(project: &Project, tools: &Tools) -> Result<()> {
    let npm_bin = project.root.join("node_modules/.bin");
    tools
        .wasm
        .program(&project.sh, &tools.wasm_pack.join("wasm-pack"), &[tools.wasm_bindgen.clone(), npm_bin])?
        .args(["build", "--mode", "no-install", "--target", "nodejs", "--release", "--out-dir"])
        .arg(bare_package_dir(project))
        .run()?;
    Ok(())
}

pub(crate) fn bare_package_dir(project: &Project) -> PathBuf {
    project.target.join("bare-package")
}

fn compile(project: &Project, tools: &Tools) -> Result<PathBuf> {
    let cargo = tools.wasm.cargo(&project.sh).arg("build");
    cargo.args(["--release", "--lib", "--target", "wasm32-unknown-unknown"]).run()?;
    Ok(tools.wasm.target_dir.join("wasm32-unknown-unknown/release/langfuse_edge.wasm"))
}

fn generate_glue(sh: &Shell, tools: &Tools, wasm: &Path, dist: &Path) -> Result<()> {
    let wasm_bindgen = tools.wasm_bindgen.join("wasm-bindgen");
    cmd!(sh, "{wasm_bindgen} {wasm} --target module --experimental-reset-state-function --out-name core --out-dir {dist}")
        .quiet()
        .run()?;
    let core = dist.join("core.js");
    let mut glue = replace_once(&sh.read_file(&core)?, SOURCE_IMPORT, "")?;
    glue = replace_once(&glue, INSTANTIATE, INIT)?;
    glue = replace_once(&glue, HANDLE_ERROR, HANDLE_ERROR_IN_ITS_INSTANCE)?;
    for (in_each_call, wrapped) in WRAPPED_IN_EACH_CALL.into_iter().zip(WRAPPED) {
        glue = glue.replace(in_each_call, wrapped);
    }
    ensure!(
        glue.contains(WRAPPED[0]) && !glue.contains("arguments);"),
        "core.js wraps what may throw in another way: did wasm-bindgen change?"
    );
    glue = replace_once(&glue, IS_VIEW_STALE[0], IS_VIEW_STALE[1])?;
    for guard in GUARDS {
        ensure!(glue.contains(guard), "core.js does not have `{guard}`: did wasm-bindgen change?");
        glue = glue.replace(guard, "");
    }
    for call in FINALIZERS {
        glue = replace_once(&glue, call, &format!("try {{ {call} }} catch {{}}"))?;
    }
    sh.write_file(&core, shorten(&copy_strings_in_bulk(&glue)?)?)?;
    sh.remove_path(dist.join("core_bg.wasm.d.ts"))?;
    // wasm-bindgen declares `[Symbol.dispose]`, which the default library of a user's TypeScript lacks.
    let types = sh.read_file(dist.join("core.d.ts"))?;
    sh.write_file(
        dist.join("core.d.ts"),
        format!("/// <reference lib=\"esnext.disposable\" />\n{types}{INIT_TYPE}"),
    )?;
    Ok(())
}

/// wasm-bindgen's glue copies ASCII character by character unless it has no `realloc`. What it does with one goes, and so
/// does the stand-in for an `encodeInto` that hosts lack. Instead of a copy of each text in JavaScript, ASCII is encoded in place.
fn copy_strings_in_bulk(glue: &str) -> Result<String> {
    let glue =
        glue.replace(", wasm.__wbindgen_malloc, wasm.__wbindgen_realloc)", ", wasm.__wbindgen_malloc)");
    let glue =
        cut_once(&glue, "    let len = arg.length;\n", "    WASM_VECTOR_LEN = offset;\n    return ptr;\n")?;
    let glue = cut_once(&glue, "if (!('encodeInto' in cachedTextEncoder)) {\n", "\n}\n")?;
    replace_once(&glue, ENCODE, ENCODE_IN_PLACE)
}

/// Says the same in fewer bytes: a Worker downloads them.
fn shorten(glue: &str) -> Result<String> {
    let mut glue = glue.replace("        let ret;\n        ret = ", "        const ret = ");
    for text in WRITE_TEXT {
        ensure!(glue.contains(text), "core.js does not have `{text}`: did wasm-bindgen change?");
        glue = glue.replace(text, WRITTEN_TEXT);
    }
    for [first, last] in [UPDATE, CLOSURES] {
        glue = cut_once(&glue, first, last)?;
    }
    for (long, short) in SHORTER {
        glue = replace_once(&glue, long, short)?;
    }
    ensure!(
        glue.contains(REGISTRY[0]),
        "core.js makes its registries in another way: did wasm-bindgen change?"
    );
    glue = glue.replace(REGISTRY[0], REGISTRY[1]);
    Ok([&glue, WRITE, REGISTRY_OF].concat())
}

/// Without the words of panics, with the flags of Cargo.toml, which `wasm-pack build` uses as well, and with short
/// names between the wasm and its glue: the long ones end in hashes, which do not compress.
fn optimize(project: &Project, dist: &Path) -> Result<()> {
    let sh = &project.sh;
    let wasm_opt = project.npm_bin("wasm-opt");
    let flags = &project.wasm_opt;
    ensure!(
        !flags.is_empty(),
        "Cargo.toml has no [package.metadata.wasm-pack.profile.release] wasm-opt = [flags]"
    );
    let wasm = dist.join("core_bg.wasm");
    let core = dist.join("core.js");
    let mut glue = sh.read_file(&core)?;
    let silent = panics::silence(&sh.read_binary_file(&wasm)?)?;
    sh.write_file(&wasm, exports::without(&silent, |name| !uses(&glue, name))?)?;
    let names = cmd!(sh, "{wasm_opt} {flags...} --minify-imports-and-exports-and-modules {wasm} -o {wasm}")
        .quiet()
        .read()?;
    let names: Names = serde_json::from_str(&names).context("wasm-opt printed no names")?;
    glue = replace_once(&glue, "\"./core_bg.js\": ", "\"a\": ")?;
    for (_, long, short) in &names.imports {
        glue = replace_once(&glue, &format!("{long}: "), &format!("{short}: "))?;
    }
    let mut exports = names.exports;
    // A name may begin another.
    exports.sort_by_key(|(long, _)| std::cmp::Reverse(long.len()));
    for (long, short) in &exports {
        for end in AFTER_EXPORT {
            glue = glue.replace(&format!("wasm.{long}{end}"), &format!("wasm.{short}{end}"));
        }
        ensure!(!glue.contains(&format!("wasm.{long}")), "core.js still uses the export {long}");
    }
    sh.write_file(&core, glue)?;
    Ok(())
}

/// Not `wasm.langfuse_end` in `wasm.langfuse_endAll`: an export that is called or read is followed by one of these.
const AFTER_EXPORT: [char; 5] = ['(', '.', ',', ')', ';'];

fn uses(glue: &str, export: &str) -> bool {
    AFTER_EXPORT.iter().any(|end| glue.contains(&format!("wasm.{export}{end}")))
}

#[derive(serde::Deserialize)]
struct Names {
    /// Module, long name, short name.
    imports: Vec<(String, String, String)>,
    /// Long name, short name.
    exports: Vec<(String, String)>,
}

fn replace_once(text: &str, from: &str, to: &str) -> Result<String> {
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

fn typescript(project: &Project, dist: &Path) -> Result<()> {
    let sh = &project.sh;
    let tsc = project.npm_bin("tsc");
    let tsconfig = project.root.join("pkg-templates/tsconfig.json");
    cmd!(sh, "{tsc} --project {tsconfig} --outDir {dist}").quiet().run()?;
    // `require` gets the same types, in a folder where they count as CommonJS.
    let cjs = dist.join("cjs");
    sh.create_dir(&cjs)?;
    for file in sh.read_dir(dist)? {
        if file.to_string_lossy().ends_with(".d.ts") {
            sh.copy_file(&file, &cjs)?;
        }
    }
    sh.write_file(cjs.join("package.json"), "{ \"type\": \"commonjs\" }\n")?;
    Ok(())
}

fn package(project: &Project, pkg: &Path) -> Result<()> {
    let sh = &project.sh;
    let dist = pkg.join("dist");
    let templates = project.root.join("pkg-templates");
    let manifest = sh.read_file(templates.join("package.json"))?;
    ensure!(
        manifest.contains("\"version\": \"0.0.0\""),
        "pkg-templates/package.json has no version 0.0.0 to replace"
    );
    sh.write_file(pkg.join("package.json"), manifest.replacen("0.0.0", &project.version, 1))?;
    for name in ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"] {
        sh.copy_file(project.root.join(name), pkg)?;
    }
    for name in ["wasm-workerd.js", "wasm-edge.js", "wasm-inline.js"] {
        sh.copy_file(templates.join(name), &dist)?;
    }
    let esbuild = project.npm_bin("esbuild");
    let inline = dist.join("wasm-inline.js");
    cmd!(
        sh,
        "{esbuild} {inline} --bundle --format=esm --platform=neutral --target=es2022 --loader:.wasm=binary"
    )
    .args(["--log-level=warning", "--allow-overwrite"])
    .arg(format!("--outfile={}", inline.display()))
    .quiet()
    .run()?;
    let entries = ["index.js", "raw.js", "console.js", "v3.js"].map(|name| dist.join(name));
    cmd!(sh, "{esbuild} {entries...} --bundle --format=cjs --platform=node --target=node20")
        .args(["--log-level=warning", "--out-extension:.js=.cjs"])
        .arg(format!("--outdir={}", dist.display()))
        .quiet()
        .run()?;
    Ok(())
}

/// Lets examples and tests import the package by its name.
fn link(project: &Project) -> Result<()> {
    let link = project.root.join("node_modules/langfuse-edge");
    if link.is_symlink() {
        std::fs::remove_file(&link)?;
    }
    std::os::unix::fs::symlink("../pkg", &link).with_context(|| format!("cannot link {}", link.display()))
}

/// What a Worker's users download, against the budget.
fn sizes(project: &Project) -> Result<()> {
    let wasm = Size::of(&project.sh, &project.root.join("pkg/dist/core_bg.wasm"))?;
    progress("dist", format_args!("core_bg.wasm: {} bytes, gzip -9 {}", wasm.raw, wasm.gzip));
    let v3 = Bundled::of(project, MINIMAL_V3_WORKER)?;
    progress("dist", format_args!("minimal Worker of langfuse-edge/v3: {v3}"));
    let minimal = Bundled::of(project, MINIMAL_WORKER)?;
    progress("dist", format_args!("minimal Worker: {minimal}, budget {MINIMAL_WORKER_BUDGET}"));
    ensure!(
        minimal.total() <= MINIMAL_WORKER_BUDGET,
        "the minimal Worker is over its budget of {MINIMAL_WORKER_BUDGET} bytes"
    );
    Ok(())
}

/// What a bundled Worker has, gzip -9, in bytes.
struct Bundled {
    js: usize,
    wasm: usize,
}

impl Bundled {
    fn of(project: &Project, source: &str) -> Result<Self> {
        let sh = &project.sh;
        let out = project.target.join("minimal-worker");
        sh.remove_path(&out)?;
        let esbuild = project.npm_bin("esbuild");
        cmd!(
            sh,
            "{esbuild} --bundle --minify --format=esm --conditions=workerd,worker,browser --loader:.wasm=copy"
        )
        .args(["--external:node:*", "--external:cloudflare:*", "--log-level=warning", "--asset-names=[name]"])
        .arg(format!("--outfile={}", out.join("worker.js").display()))
        .stdin(source)
        .quiet()
        .run()?;
        let gzip = |name| Size::of(sh, &out.join(name)).map(|size| size.gzip);
        Ok(Self { js: gzip("worker.js")?, wasm: gzip("core_bg.wasm")? })
    }

    fn total(&self) -> usize {
        self.js + self.wasm
    }
}

impl std::fmt::Display for Bundled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { js, wasm } = self;
        write!(f, "{} bytes gzip -9 (JavaScript {js}, wasm {wasm})", self.total())
    }
}

struct Size {
    raw: usize,
    gzip: usize,
}

impl Size {
    fn of(sh: &Shell, file: &Path) -> Result<Self> {
        let script = "const bytes = require('fs').readFileSync(process.argv[1]);
            console.log(bytes.length, require('zlib').gzipSync(bytes, { level: 9 }).length)";
        let sizes = cmd!(sh, "node -e {script} {file}").quiet().read()?;
        let (raw, gzip) = sizes.split_once(' ').context("node printed no two sizes")?;
        Ok(Self { raw: raw.parse()?, gzip: gzip.parse()? })
    }
}
