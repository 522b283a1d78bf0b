// What of a message's trace is at the receiver while the Worker is still busy with the message. When the Worker asks its LLM
// for something, its workflow has not ended: whatever is there then has been flushed by steps.
export class StepByStep {
  #receiver;
  #known = new Set();
  #seen = [];
  total = 0;

  constructor(receiver) {
    this.#receiver = receiver;
  }

  /** A message is about to be handled. */
  async begin() {
    await this.#arrived();
    this.#seen = [];
  }

  /** The Worker asks for something. */
  async asks(name) {
    const names = await this.#arrived();
    if (names.length === 0) return;
    this.#seen.push({ name, names });
    this.total += names.length;
  }

  /** What had arrived of the message at each question. */
  lines() {
    return this.#seen.map(({ name, names }) => `already there when the Worker asks for ${name}: ${names.join(", ")}`);
  }

  /** The names of what has come since the last time. A receiver that is gone has nothing. */
  async #arrived() {
    const rows = await this.#receiver.rows().catch(() => []);
    const fresh = rows.filter(({ id }) => !this.#known.has(id));
    for (const { id } of fresh) this.#known.add(id);
    return fresh.map(({ name }) => name);
  }
}
