// Passes a request on to the Worker that its path begins with. With `cancelWhen`, a URL of the receiver's state, it
// leaves that Worker alone as soon as the receiver has got a request, as a client does that disconnects; with `leaveAfter`, after
// so many parts of the answer's body, of which it reads the last with `pauseMs` so much later than the others.
export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    const [, worker, ...path] = url.pathname.split("/");
    const cancelWhen = url.searchParams.get("cancelWhen");
    url.pathname = path.join("/");
    const abort = new AbortController();
    const answer = env[worker].fetch(new Request(url, request), { signal: abort.signal });
    const parts = Number(url.searchParams.get("leaveAfter"));
    if (parts > 0) {
      const reader = (await answer).body.getReader();
      for (let part = 1; part <= parts; part++) {
        if (part === parts) await scheduler.wait(Number(url.searchParams.get("pauseMs")));
        const { done } = await reader.read();
        if (done) return new Response("the body ended");
      }
      abort.abort();
      return new Response("left");
    }
    if (!cancelWhen) return answer;

    const gone = answer.then(() => "answered", () => "cancelled");
    while ((await (await fetch(cancelWhen)).json()).requests === 0) await scheduler.wait(10);
    abort.abort();
    return new Response(await gone);
  },
};
