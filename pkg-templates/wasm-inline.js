// Every other host: the bytes travel inside this file, so no bundler needs a plugin and no file is read.
import bytes from "./core_bg.wasm";

export default new WebAssembly.Module(bytes);
