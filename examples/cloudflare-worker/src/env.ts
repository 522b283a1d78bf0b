/** Variables and secrets of the Worker: see wrangler.jsonc. */
export interface Env {
  LANGFUSE_PUBLIC_KEY?: string;
  LANGFUSE_SECRET_KEY?: string;
  LANGFUSE_BASE_URL?: string;
  OPENAI_API_KEY?: string;
  OPENAI_BASE_URL?: string;
  OPENAI_MODEL?: string;
  FALLBACK_ADDRESS?: string;
  /** Deadline in milliseconds of the flushes that this Worker asks for itself; the package's default when absent. */
  FLUSH_TIMEOUT_MS?: string;
}
