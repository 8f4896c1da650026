import { createClient, type SupabaseClient } from '@supabase/supabase-js';
import { noteRetryAfter } from './retry-after.ts';
import { Transfers } from './transfers.ts';

/** Where the cloud is and who we are there. */
export type CloudSettings = Readonly<{
  /** The project's URL, without a slash at its end. */
  url: string;
  /** Secret or service role key: past row level security. */
  key: string;
  bucket: string;
}>;

/** The longest waits, in milliseconds. */
export type Timeouts = Readonly<{
  /** For the answer to a small request. */
  requestMs: number;
  /** For the answer to one that carries up to 6 MiB. */
  transferMs: number;
  /** For the next bytes of a download. */
  silenceMs: number;
}>;

export const DEFAULT_TIMEOUTS: Timeouts = {
  requestMs: 30_000,
  transferMs: 120_000,
  silenceMs: 30_000,
};

/** What every request of the agent to the cloud goes through. */
export type Connection = Readonly<{
  settings: CloudSettings;
  client: SupabaseClient;
  fetch: typeof fetch;
  /** For archives above what one request takes, and for every download. */
  transfers: Transfers;
  timeouts: Timeouts;
}>;

/** @param signal ends every request when the agent stops */
export function connect(
  settings: CloudSettings,
  signal: AbortSignal,
  timeouts: Timeouts = DEFAULT_TIMEOUTS,
): Connection {
  const fetchWithTimeout: typeof fetch = async (input, init) => {
    const carries = init?.body !== undefined && init.body !== null && typeof init.body !== 'string';
    const timeout = AbortSignal.timeout(carries ? timeouts.transferMs : timeouts.requestMs);
    const signals = [signal, timeout, ...(init?.signal ? [init.signal] : [])];
    const response = await fetch(input, { ...init, signal: AbortSignal.any(signals) });
    noteRetryAfter(response.headers.get('retry-after'));
    return response;
  };
  const client = createClient(settings.url, settings.key, {
    auth: { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false },
    global: { fetch: fetchWithTimeout },
  });
  return {
    settings,
    client,
    fetch: fetchWithTimeout,
    transfers: new Transfers(signal),
    timeouts,
  };
}
