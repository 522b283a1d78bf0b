// The receiver's side of the demo: is it there, and what has it got.
const PROBE_EVERY_MS = 250;
const PROBE_TIMEOUT_MS = 2_000;

export class Receiver {
  #baseUrl;

  constructor(baseUrl) {
    this.#baseUrl = baseUrl;
  }

  /** Human readable trees, or (normalized) only what two runs have in common. */
  async trees({ normalized = false } = {}) {
    const response = await this.#get(`/dev/trees?format=text${normalized ? "&normalized=true" : ""}`);
    return response.text();
  }

  /** The observations in the order in which they came. */
  async rows() {
    return (await this.#get("/dev/rows")).json();
  }

  /** @returns {Promise<{ requests: number, observations: number, rows: number, duplicates: number }>} */
  async state() {
    return (await this.#get("/dev/state")).json();
  }

  /** Calls `onGone` once when the receiver stops answering. Returns the function that ends the watch. */
  watch(onGone) {
    let stopped = false;
    const probe = async () => {
      if (stopped) return;
      try {
        await fetch(new URL("/health", this.#baseUrl), { signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) });
        timer = setTimeout(probe, PROBE_EVERY_MS);
      } catch {
        if (!stopped) onGone();
      }
    };
    let timer = setTimeout(probe, 0);
    return () => {
      stopped = true;
      clearTimeout(timer);
    };
  }

  async #get(path) {
    const url = new URL(path, this.#baseUrl);
    const response = await fetch(url, { signal: AbortSignal.timeout(5_000) });
    if (!response.ok) throw new Error(`GET ${url} answered ${response.status}`);
    return response;
  }
}
