// Traps without a hook in the product. To be imported before the client: it keeps the wasm instances that are made
// from then on, so that the memory of one can be spoiled.
const { Instance } = WebAssembly;

export const instances = [];

WebAssembly.Instance = class extends Instance {
  constructor(...args) {
    super(...args);
    instances.push(this);
  }
};

/** Fills the memory of the newest instance with nonsense, so that the next call into it traps. */
export function spoilMemory(word = 0xffff_ffff) {
  const memory = Object.values(instances.at(-1).exports).find((value) => value instanceof WebAssembly.Memory);
  new Uint32Array(memory.buffer).fill(word);
}
