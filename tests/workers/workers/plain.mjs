// The same Worker without any tracing: how long its answers take is what a user would wait without langfuse-edge.
import { handlersOf } from "./handlers.mjs";

export default handlersOf((name, input, act) => act());
