// What AWS Lambda's runtime for Node.js does: asks the Runtime API for an event, calls the handler, posts what it gives.
const [, , entry] = process.argv;
const { handler } = await import(entry);
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
  const [path, body] = await handler(event, context).then(
    (result) => ["response", result],
    ({ name, message }) => ["error", { errorType: name, errorMessage: message }],
  );
  await fetch(`${api}/${id}/${path}`, { method: "POST", body: JSON.stringify(body) });
}
