import type { SupabaseClient } from '@supabase/supabase-js';
import { readAnswer } from './answer.ts';
import { Key } from './key.ts';
import { Transfers } from './transfers.ts';
import { fromResponse, isRefusal } from './translate.ts';

/** Where the cloud is and who we are there. */
export type CloudSettings = Readonly<{
  /** The project's URL, without a slash at its end. */
  url: string;
  /** That of a host, or the secret or service role key of the project, which is past row level security. */
  key: string;
  /** Where the key was read from, and is read again once it is refused. */
  keyFile?: string | null;
  bucket: string;
}>;

/** The longest waits, in milliseconds. */
export type Timeouts = Readonly<{
  /** For the answer to a small request. */
  requestMs: number;
  /** For the answer to one that carries 6 MiB. */
  transferMs: number;
  /** For the next bytes of a download. */
  silenceMs: number;
}>;

export const DEFAULT_TIMEOUTS: Timeouts = {
  requestMs: 15_000,
  transferMs: 120_000,
  silenceMs: 30_000,
};

/** What one request carries at most. */
const MOST_BYTES = 6 * 1024 * 1024;

/** What every request of the agent to the cloud goes through. */
export type Connection = Readonly<{
  settings: CloudSettings;
  key: Key;
  client: SupabaseClient;
  /** Asks as we are, bounded in time. Answers that are not the platform's say 503. */
  fetch: typeof fetch;
  /** For archives above what one request takes, and for every download. */
  transfers: Transfers;
  timeouts: Timeouts;
}>;

/**
 * @param signal ends every request when the agent stops
 * @param send what sends requests
 */
export async function connect(
  settings: CloudSettings,
  signal: AbortSignal,
  timeouts: Timeouts = DEFAULT_TIMEOUTS,
  send: typeof fetch | null = null,
): Promise<Connection> {
  // A quarter of a command's start, which one without a cloud has no use for.
  const { createClient } = await import('@supabase/supabase-js');
  const key = new Key(settings.key, settings.keyFile ?? null);
  const fetchAsUs: typeof fetch = async (input, init) => {
    const timeout = AbortSignal.timeout(longestWait(init?.body, timeouts));
    const signals = [signal, timeout, ...(init?.signal ? [init.signal] : [])];
    const url = String(input instanceof Request ? input.url : input);
    const ask = async () => {
      const headers = new Headers(init?.headers);
      headers.set('apikey', key.value);
      headers.set('authorization', `Bearer ${key.value}`);
      const response = await (send ?? fetch)(url, {
        ...init,
        headers,
        signal: AbortSignal.any(signals),
      });
      return readAnswer(response, url);
    };
    const answer = await ask();
    const mayBeOver = answer.status === 401 || answer.status === 403 || answer.status === 400;
    if (!mayBeOver || init?.body instanceof ReadableStream) return answer;
    const refusal = fromResponse(answer.status, await answer.clone().text());
    return isRefusal(refusal) && (await key.refresh()) ? ask() : answer;
  };
  const client = createClient(settings.url, settings.key, {
    auth: { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false },
    // Retries are the outbox's: it waits for the cloud as a whole.
    db: { retry: false },
    global: { fetch: fetchAsUs },
  });
  return {
    settings,
    key,
    client,
    fetch: fetchAsUs,
    transfers: new Transfers(signal, send),
    timeouts,
  };
}

/** A lane that waits for an answer that was lost is of no use: small bodies are not waited for long. */
function longestWait(body: unknown, { requestMs, transferMs }: Timeouts): number {
  const bytes = body instanceof Uint8Array ? body.byteLength : 0;
  const more = Math.min(1, bytes / MOST_BYTES) * Math.max(0, transferMs - requestMs);
  return Math.round(requestMs + more);
}
