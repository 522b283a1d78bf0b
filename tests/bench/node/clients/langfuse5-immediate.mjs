// The same in the mode that its documentation recommends for serverless functions.
import { start as startBatched } from "./langfuse5.mjs";

export const start = (target) => startBatched(target, "immediate");
