// The clients that are measured: the module of each, and which server takes what it sends.
export const OURS = "langfuse-edge";
export const LANGFUSE5 = "@langfuse v5";
export const FLOOR = "floor";

export const CLIENTS = {
  [OURS]: { module: "edge", server: "receiver" },
  [LANGFUSE5]: { module: "langfuse5", server: "receiver" },
  "@langfuse v5 immediate": { module: "langfuse5-immediate", server: "receiver" },
  "langfuse v3": { module: "langfuse3", server: "sink" },
  "posthog-node": { module: "posthog", server: "sink" },
  langsmith: { module: "langsmith", server: "sink" },
  [FLOOR]: { module: "floor", server: "sink" },
};

/** The floor with `node:http` in the place of `fetch`: the least that Node.js can do. */
export const NODE_FLOOR = "floor, by node:http";

const ALL = { ...CLIENTS, [NODE_FLOOR]: { module: "floor-node", server: "sink" } };

export const moduleOf = (client) => new URL(`clients/${ALL[client].module}.mjs`, import.meta.url);
export const serverOf = (client) => ALL[client].server;
