// Reads LANGFUSE_PUBLIC_KEY, LANGFUSE_SECRET_KEY and LANGFUSE_BASE_URL. Without keys it greets all the same, untraced.
import { flushLangfuse, runWorkflowWithFlush, step } from "langfuse-edge";

async function helloWorkflow(name) {
  return step("hello", () => `Hello, ${name}!`, { input: { name } });
}

console.log(await runWorkflowWithFlush(helloWorkflow, process.argv[2] ?? "world"));

// The workflow has flushed already: this report says whether anything was left behind, after one more short try.
const { ok, delivered, retained } = await flushLangfuse({ timeoutMs: 2_000 });
console.log(`flush: ok=${ok} delivered=${delivered} retained=${retained}`);
if (!ok) process.exitCode = 1;
