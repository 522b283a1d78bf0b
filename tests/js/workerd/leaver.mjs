// A client of another Worker that leaves: before the answer, or in the middle of its body.
export default {
  async fetch(request, env) {
    const { pathname, searchParams } = new URL(request.url);
    const abort = new AbortController();
    const answer = env.TRACED.fetch(`http://traced${pathname}`, { signal: abort.signal });
    const parts = Number(searchParams.get("parts"));
    if (parts === 0) {
      await scheduler.wait(50);
      abort.abort();
      return new Response(await answer.then(() => "answered", () => "cancelled"));
    }
    const reader = (await answer).body.getReader();
    for (let part = 0; part < parts; part++) await reader.read();
    if (searchParams.has("cancel")) await reader.cancel("enough");
    else abort.abort();
    return new Response("left");
  },
};
