/**
 * The wasm instance behind all clients of this module, and its replacement after a trap.
 *
 * A trap leaves the frames below it without unwinding them: borrows stay taken, and stack is lost. So whatever a call
 * throws, the instance is given up, and the next call gets a new one. What belonged to the old one is dead.
 */

import { __wbg_reset_state } from "./core.js";

/** How many instances were given up: the number of the one in use. Whatever an object of another number holds is dead. */
export let generation = 0;

/** The number of the instance that the core calls. */
let current = 0;

/** Frames of stack that a new instance needs at least, lest it be lost at once to a caller that is out of stack. */
const FRAMES = 500;

/** Gives up the instance of this number, if it is still in use, and replaces it at once. */
export function giveUp(number: number): void {
  generation += Number(number === generation);
  guarded(() => {});
}

/**
 * Calls `act`, a second time when it trapped, on a new instance. Undefined when that fails as well, or when a call
 * from within, of a getter of the user's, has lost the instance.
 */
export function guarded<Result>(act: () => Result): Result | undefined {
  for (let attempt = 0; attempt < 2; attempt++) {
    const before = generation;
    try {
      if (current !== before) {
        descend(FRAMES);
        __wbg_reset_state();
        current = before;
      }
      const result = act();
      return generation === before ? result : undefined;
    } catch {
      if (generation !== before) {
        break;
      }
      generation++;
    }
  }
  return;
}

/** Throws when there are not so many frames of stack. */
function descend(frames: number): number {
  return frames && descend(frames - 1) + 1;
}

/** Frees what is not lost already. A borrow that a terminated request holds is no reason to give up the instance. */
export function discard(object: { free(): void } | undefined, of: number): void {
  if (of === generation) {
    try {
      object?.free();
    } catch {
      // The garbage collector has it.
    }
  }
}
