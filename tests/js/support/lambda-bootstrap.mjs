// What AWS Lambda's runtime for Node.js does: asks the Runtime API for an event, calls the handler, posts what it gives, or while
// it gives it.
import { PassThrough, Readable } from "node:stream";
import { finished } from "node:stream/promises";

const STREAMING = Symbol.for("aws.lambda.runtime.handler.streaming");
globalThis.awslambda = {
  streamifyResponse(handler) {
    handler[STREAMING] = "response";
    return handler;
  },
};

const [, , entry] = process.argv;
const { [process.env._HANDLER ?? "handler"]: handler } = await import(entry);
const api = `http://${process.env.AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation`;

for (;;) {
  const next = await fetch(`${api}/next`);
  const id = next.headers.get("lambda-runtime-aws-request-id");
  const deadline = Number(next.headers.get("lambda-runtime-deadline-ms"));
  const context = {
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    awsRequestId: id,
    getRemainingTimeInMillis: () => deadline - Date.now(),
  };
  const event = await next.json();
  const post = (path, body, more) => fetch(`${api}/${id}/${path}`, { method: "POST", body, ...more });
  if (handler[STREAMING]) {
    const response = new PassThrough();
    const headers = { "lambda-runtime-function-response-mode": "streaming" };
    const posted = post("response", Readable.toWeb(response), { headers, duplex: "half" });
    await handler(event, response, context);
    await Promise.all([finished(response), posted]);
  } else {
    const [path, body] = await handler(event, context).then(
      (result) => ["response", result],
      ({ name, message }) => ["error", { errorType: name, errorMessage: message }],
    );
    await post(path, JSON.stringify(body));
  }
}
