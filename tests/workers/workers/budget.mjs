// Cloudflare cancels what outlives a response by 30 s. workerd by itself does not, so these Workers do it to themselves.

/**
 * The handler, whose promises for `waitUntil` have so many milliseconds after the response, then nobody waits for them. `budget`
 * counts those that are open, met and cut. Without `ms` it is the handler itself.
 */
export function withBudget(fetch, ms, budget) {
  if (!ms) return fetch;
  return async (request, env, ctx) => {
    let begin;
    const over = new Promise((resolve) => (begin = resolve)).then(() => scheduler.wait(ms));
    const limited = {
      waitUntil(promise) {
        budget.open++;
        let isSettled = false;
        const settle = (how) => {
          if (isSettled) return;
          isSettled = true;
          budget.open--;
          budget[how]++;
        };
        const met = Promise.resolve(promise).finally(() => settle("met"));
        ctx.waitUntil(Promise.race([met, over.then(() => settle("cut"))]));
      },
    };
    let response;
    try {
      response = await fetch(request, env, limited);
      return response.body ? new Response(endingWith(response.body, begin), response) : response;
    } finally {
      if (!response?.body) begin();
    }
  };
}

/** The same body, which calls `begin` when it has been read or given up. */
function endingWith(body, begin) {
  const reader = body.getReader();
  const source = {
    async pull(controller) {
      const { done, value } = await reader.read();
      if (!done) return controller.enqueue(value);
      begin();
      controller.close();
    },
    cancel(reason) {
      begin();
      return reader.cancel(reason);
    },
  };
  // Nothing is read before somebody wants it.
  return new ReadableStream(source, { highWaterMark: 0 });
}
