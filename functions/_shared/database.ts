import type { SupabaseClient } from '@supabase/supabase-js';
import { StorageError } from './contract/errors.ts';

/**
 * Calls one of our SQL functions: one request, one query.
 *
 * @param doing completes "Cannot …" in the message, for example `list "abc"`
 * @throws StorageError `unauthenticated`, `forbidden`, `invalid_input`, `rate_limited` or `unavailable`
 */
export async function callDatabase<T>(
  client: SupabaseClient,
  name: string,
  args: Record<string, unknown>,
  doing: string,
): Promise<T> {
  const { data, error, status } = await client.rpc(name, args);
  if (error === null) return data as T;
  throw new StorageError(
    codeOf(error.code, status),
    `Cannot ${doing}: the database ${state(status)}`,
    {
      cause: error,
    },
  );
}

/** @param code PostgREST's or PostgreSQL's; a gateway in front of them gives none */
function codeOf(code: string | undefined, status: number) {
  if (status === 401) return 'unauthenticated';
  if (status === 429) return 'rate_limited';
  if (code === '42501' || status === 403) return 'forbidden';
  // A value that PostgreSQL cannot take: out of range, no time, against a CHECK.
  if (code?.startsWith('22') || code === '23514') return 'invalid_input';
  return 'unavailable';
}

function state(status: number): string {
  return status === 0 ? 'is out of reach' : `answered ${status}`;
}
