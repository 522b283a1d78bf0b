//! Stories of the core, told through its public face, natively and in wasm.

mod time;
