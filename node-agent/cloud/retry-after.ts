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

/** Notes what the headers of an answer say; to be called for every one. */
export function noteRetryAfter(headers: Pick<Headers, 'get'>): void {
  const store = scope.getStore();
  if (store === undefined) return;
  store.retryAfterMs = parseRetryAfter(headers.get('retry-after'), headers.get('date'));
}

/** What the last answer said, in milliseconds; `null` where it said nothing. */
export function lastRetryAfter(): number | null {
  return scope.getStore()?.retryAfterMs ?? null;
}

/**
 * Seconds, or a date: RFC 9110, 10.2.3. A date is meant by the clock that the answer was made by,
 * which this host's may be hours away from.
 *
 * @param answeredAt the `Date` of the answer; without it a date says nothing
 */
export function parseRetryAfter(header: string | null, answeredAt: string | null): number | null {
  if (header === null) return null;
  if (/^\s*\d+\s*$/.test(header)) return Number(header) * 1000;
  const wait = Date.parse(header) - Date.parse(answeredAt ?? '');
  return Number.isNaN(wait) ? null : Math.max(0, wait);
}
