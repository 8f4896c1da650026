import { AsyncLocalStorage } from 'node:async_hooks';

/**
 * How long the other side asked to wait, for whoever started the request. supabase-js gives its
 * errors without the headers, so they are noted where every answer passes.
 */
const scope = new AsyncLocalStorage<{ retryAfterMs: number | null }>();

/** Runs work whose errors are to know of `Retry-After`. */
export function withRetryAfter<T>(work: () => Promise<T>): Promise<T> {
  return scope.run({ retryAfterMs: null }, work);
}

/**
 * Notes what an answer says; to be called for every one.
 *
 * @param header its `Retry-After`; `null` where it has none
 */
export function noteRetryAfter(header: string | null): void {
  const store = scope.getStore();
  if (store !== undefined) store.retryAfterMs = parseRetryAfter(header);
}

/** What the last answer said, in milliseconds; `null` where it said nothing. */
export function lastRetryAfter(): number | null {
  return scope.getStore()?.retryAfterMs ?? null;
}

/** Seconds, or a date: RFC 9110, 10.2.3. */
function parseRetryAfter(header: string | null): number | null {
  if (header === null) return null;
  if (/^\d{1,6}$/.test(header.trim())) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? null : Math.max(0, date - Date.now());
}
