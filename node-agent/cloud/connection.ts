import { createClient, type SupabaseClient } from '@supabase/supabase-js';

/** Where the cloud is and who we are there. */
export type CloudSettings = Readonly<{
  /** The project's URL, without a slash at its end. */
  url: string;
  /** Secret or service role key: past row level security. */
  key: string;
  bucket: string;
}>;

/** Longest wait for the answer to one small request, in milliseconds. */
const TIMEOUT_MS = 30_000;
/** The same for one that carries up to 6 MiB. */
export const TRANSFER_TIMEOUT_MS = 120_000;

/** Longest silence in the middle of a download. */
const IDLE_TIMEOUT_MS = 30_000;

/** What every request of the agent to the cloud goes through. */
export type Connection = Readonly<{
  settings: CloudSettings;
  client: SupabaseClient;
  fetch: typeof fetch;
  /** As `fetch`, for an answer that may take long: what is limited is its silence. */
  stream(path: string): Promise<{ response: Response; body: AsyncIterable<Uint8Array> }>;
}>;

/** @param signal ends every request when the agent stops */
export function connect(settings: CloudSettings, signal: AbortSignal): Connection {
  const fetchWithTimeout: typeof fetch = (input, init) => {
    const carries = init?.body !== undefined && init.body !== null && typeof init.body !== 'string';
    const timeout = AbortSignal.timeout(carries ? TRANSFER_TIMEOUT_MS : TIMEOUT_MS);
    const signals = [signal, timeout, ...(init?.signal ? [init.signal] : [])];
    return fetch(input, { ...init, signal: AbortSignal.any(signals) });
  };
  const client = createClient(settings.url, settings.key, {
    auth: { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false },
    global: { fetch: fetchWithTimeout },
  });
  return { settings, client, fetch: fetchWithTimeout, stream };

  async function stream(path: string) {
    const idle = new AbortController();
    const abort = () => idle.abort(new DOMException('The server fell silent', 'TimeoutError'));
    let timer = setTimeout(abort, IDLE_TIMEOUT_MS);
    const response = await fetch(`${settings.url}${path}`, {
      headers: { authorization: `Bearer ${settings.key}`, apikey: settings.key },
      signal: AbortSignal.any([signal, idle.signal]),
    }).catch((error: unknown) => {
      clearTimeout(timer);
      throw error;
    });
    async function* read() {
      try {
        for await (const piece of response.body ?? []) {
          clearTimeout(timer);
          timer = setTimeout(abort, IDLE_TIMEOUT_MS);
          yield piece;
        }
      } finally {
        clearTimeout(timer);
      }
    }
    return { response, body: read() };
  }
}
