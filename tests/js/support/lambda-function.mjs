// A Lambda function that flushes nothing itself.
import { startObservation, withLangfuseLambda } from "langfuse-edge";

export const handler = withLangfuseLambda(async (event) => {
  startObservation("work", { input: event }).end();
  if (event.fails) throw new TypeError("no such order");
  return { statusCode: 200, body: "done" };
});

/** Its response is streamed. */
export const streaming = globalThis.awslambda?.streamifyResponse(
  withLangfuseLambda(async (event, response) => {
    response.write("first ");
    await new Promise((resolve) => setTimeout(resolve, 100));
    startObservation("work", { input: event }).end();
    response.end("last");
  }),
);
