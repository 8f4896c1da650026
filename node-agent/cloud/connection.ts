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

/** What every request of the agent to the cloud goes through. */
export type Connection = Readonly<{
  settings: CloudSettings;
  client: SupabaseClient;
  fetch: typeof fetch;
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
  return { settings, client, fetch: fetchWithTimeout };
}
