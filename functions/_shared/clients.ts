import { createClient, type SupabaseClient } from '@supabase/supabase-js';
import type { Environment } from './environment.ts';

const TIMEOUT_MS = 10_000;

/** A client that asks as the user: row level security is the second lock. */
export function createUserClient(environment: Environment, token: string): SupabaseClient {
  return createClient(environment.supabaseUrl, environment.publishableKey, {
    accessToken: async () => token,
    global: { fetch: fetchWithTimeout },
  });
}

/** A client of the service role, past row level security: only for what no user may do. */
export function createServiceClient(environment: Environment): SupabaseClient {
  return createKeyClient(environment.supabaseUrl, environment.secretKey);
}

/** A client of any project, by a key of it. */
export function createKeyClient(url: string, key: string): SupabaseClient {
  return createClient(url, key, {
    auth: { persistSession: false, autoRefreshToken: false },
    global: { fetch: fetchWithTimeout },
  });
}

const fetchWithTimeout: typeof fetch = (input, init) => {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const signal = init?.signal ? AbortSignal.any([init.signal, timeout]) : timeout;
  return fetch(input, { ...init, signal });
};
