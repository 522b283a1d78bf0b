/** The project that a client's keys belong to. */

/** A client's settings, as the core has written them. */
interface Settings {
  readonly headers: Record<string, string>;
  readonly [variable: `LANGFUSE_${string}`]: string | undefined;
}

interface Answer {
  data?: { id?: string }[];
}

/** The server, without a slash at the end; the default is the core's as well. */
export function serverOf(settings: Settings): string {
  return (settings.LANGFUSE_BASE_URL ?? "https://cloud.langfuse.com").trim().replace(/\/$/, "");
}

/** Asks the server for the project's id. @throws Error that says why there is none. */
export async function askForProject(settings: Settings): Promise<string> {
  const server = serverOf(settings);
  const keys = [settings.LANGFUSE_PUBLIC_KEY, settings.LANGFUSE_SECRET_KEY].map((key) => key?.trim());
  let status;
  try {
    const response = await fetch(`${server}/api/public/projects`, {
      headers: { ...settings.headers, authorization: `Basic ${btoa(keys.join(":"))}` },
      signal: AbortSignal.timeout(Number(settings.LANGFUSE_TIMEOUT ?? 10) * 1000),
      redirect: "manual",
    });
    ({ status } = response);
    const id = ((await response.json()) as Answer).data?.[0]?.id;
    if (id) {
      return id;
    }
  } catch (error) {
    if (!status) {
      const { message, cause } = error as Error & { cause?: Error };
      throw new Error(`${server} cannot be reached: ${cause?.message || message}`);
    }
  }
  const hint = status === 401 || status === 403 ? ": were the keys made there, in this region?" : "";
  throw new Error(`the project of the keys is unknown: ${server} answers ${status}${hint}`);
}
