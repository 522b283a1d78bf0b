// AWS Lambda's Runtime API for the function of lambda-function.mjs.
import { once } from "node:events";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";

import { start } from "./program.mjs";
import { variablesFor } from "./receiver.mjs";
import { until } from "./until.mjs";

const BOOTSTRAP = fileURLToPath(new URL("lambda-bootstrap.mjs", import.meta.url));
const FUNCTION = new URL("lambda-function.mjs", import.meta.url).href;

/** The function, which is frozen as soon as it has answered, or when it asks for more if its response was streamed. */
export async function startLambda(t, receiver, env = {}) {
  const asked = [];
  const answers = new Map();
  /** Answers an invocation whose response was streamed. */
  let streamed;
  const api = createServer(async (request, response) => {
    if (request.url.endsWith("/next")) {
      asked.push(response);
      if (streamed) lambda.kill("SIGSTOP");
      streamed?.();
      streamed = undefined;
      return;
    }
    const [id, kind] = request.url.split("/").slice(-2);
    if (request.headers["lambda-runtime-function-response-mode"] === "streaming") {
      const begun = performance.now();
      const parts = [];
      for await (const part of request) parts.push({ text: String(part), ms: performance.now() - begun });
      streamed = () => answers.get(id)({ kind, parts, ms: performance.now() - begun });
      return void response.end();
    }
    const body = JSON.parse((await request.toArray()).join(""));
    lambda.kill("SIGSTOP");
    answers.get(id)({ kind, body });
    response.end();
  });
  api.listen(0, "127.0.0.1");
  await once(api, "listening");
  const lambda = start(process.execPath, [BOOTSTRAP, FUNCTION], {
    AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${api.address().port}`,
    AWS_LAMBDA_FUNCTION_NAME: "orders",
    ...variablesFor(receiver.url),
    LANGFUSE_TIMEOUT: "1",
    ...env,
  });
  t.after(() => {
    lambda.kill("SIGKILL");
    api.closeAllConnections();
    api.close();
  });
  // An invocation's time begins when the function is there.
  await until(() => asked.length > 0);
  let last = 0;
  /** What the function answers to an event, for which it has so many milliseconds. */
  const invoke = async (event, ms = 10_000) => {
    lambda.kill("SIGCONT");
    await until(() => asked.length > 0);
    const id = `request-${++last}`;
    const answered = new Promise((resolve) => answers.set(id, resolve));
    const headers = { "lambda-runtime-aws-request-id": id, "lambda-runtime-deadline-ms": Date.now() + ms };
    asked.shift().writeHead(200, headers).end(JSON.stringify(event));
    return answered;
  };
  return { invoke };
}
