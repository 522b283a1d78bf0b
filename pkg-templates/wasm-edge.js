// Vercel's Edge runtime hands out a compiled module for `?module` and forbids compiling bytes.
export { default } from "./core_bg.wasm?module";
