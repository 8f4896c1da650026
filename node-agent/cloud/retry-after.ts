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

/**
 * The status of a refusal, and how long to wait: supabase-js hands on nothing of an answer but its
 * status and its words, so the two travel as one.
 *
 * @param retryAfterMs milliseconds; `null` where nothing is asked for
 */
export function joinStatus(status: number, retryAfterMs: number | null): string {
  return retryAfterMs === null ? String(status) : `${status};${retryAfterMs}`;
}

/**
 * What {@link joinStatus} joined; a status of the platform's own asks for nothing.
 *
 * @param joined as it came, from whoever answered: a number too, or anything
 */
export function splitStatus(joined: unknown): { status: number; retryAfterMs: number | null } {
  const [status, ms] = String(joined ?? '').split(';');
  return { status: Number(status), retryAfterMs: ms === undefined ? null : Number(ms) };
}
