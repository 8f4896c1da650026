const BASE_MS = 1000;
const CAP_MS = 5 * 60_000;

/**
 * How long to wait before attempt `attempts + 1`: exponential with full jitter, 1 s to 5 min, and
 * never less than the other side asked for.
 *
 * @param random from 0 to 1
 */
export function backoffMs(attempts: number, random: number, retryAfterMs: number | null): number {
  const ceiling = Math.min(CAP_MS, BASE_MS * 2 ** Math.min(attempts, 20));
  return Math.max(retryAfterMs ?? 0, Math.round(ceiling * random));
}
