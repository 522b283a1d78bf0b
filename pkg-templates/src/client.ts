/** The classes of the core, with what JavaScript can do for them and Rust cannot. */

import { Langfuse, Observation } from "./core.js";
import type { ObservationAttributes } from "./core.js";

/** A method of the core that its types do not show. */
interface Core {
  takeOver(attributes: ObservationAttributes): void;
}

// The core can only return a second handle of the same observation.
Observation.prototype.update = function (attributes) {
  (this as unknown as Core).takeOver(attributes);
  return this;
};

export { Langfuse, Observation };
