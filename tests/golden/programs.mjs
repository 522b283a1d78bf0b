// Programs written once, in the names that Langfuse's own client and ours have in common. What one returns is compared, too. The
// names of a program's observations are unique.
import { FUNCTIONS } from "./programs/functions.mjs";
import { OBSERVATIONS } from "./programs/observations.mjs";
import { TRACES } from "./programs/traces.mjs";
import { VALUES } from "./programs/values.mjs";

/** A program by what it shows: the options of its client, if it has any, and what it does. */
export const PROGRAMS = { ...OBSERVATIONS, ...VALUES, ...FUNCTIONS, ...TRACES };
