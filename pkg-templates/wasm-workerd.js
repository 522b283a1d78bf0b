// Cloudflare's runtime forbids compiling bytes in a request; an imported .wasm file arrives compiled.
export { default } from "./core_bg.wasm";
