const BASE_MS = 1000;
const CAP_MS = 5 * 60_000;
/** Who asks for more is asked again all the same. */
const LONGEST_MS = 3_600_000;

/**
 * How long to wait before attempt `attempts + 1`: exponential with full jitter, 1 s to 5 min, and
 * never less than the other side asked for, up to an hour.
 *
 * @param random from 0 to 1
 */
export function backoffMs(attempts: number, random: number, retryAfterMs: number | null): number {
  const ceiling = Math.min(CAP_MS, BASE_MS * 2 ** Math.min(attempts, 20));
  const asked = Math.min(LONGEST_MS, retryAfterMs ?? 0);
  return Math.max(asked, Math.round(ceiling * random));
}
