// A client of another Worker that reads a part of its response and goes: it cancels the body, or aborts the request.
export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    const how = url.searchParams.get("how");
    if (!how) return env.worker.fetch(request);
    const abort = new AbortController();
    const response = await env.worker.fetch(url, { signal: abort.signal });
    const reader = response.body.getReader();
    const { value } = await reader.read();
    if (how === "cancel") await reader.cancel("enough");
    else abort.abort();
    return new Response(value);
  },
};
