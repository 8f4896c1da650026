const BASE_MS = 1000;
/** The longest wait, whoever asks for more. */
export const LONGEST_WAIT_MS = 5 * 60_000;

/**
 * How long to wait before attempt `attempts + 1`: exponential with full jitter, from 1 s, and never
 * less than the other side asked for.
 *
 * @param random from 0 to 1
 * @param capMs the longest wait where nothing is asked for
 * @returns milliseconds, {@link LONGEST_WAIT_MS} at most
 */
export function backoffMs(
  attempts: number,
  random: number,
  retryAfterMs: number | null,
  capMs = LONGEST_WAIT_MS,
): number {
  const ceiling = Math.min(capMs, BASE_MS * 2 ** Math.min(attempts, 20));
  const asked = Math.min(LONGEST_WAIT_MS, retryAfterMs ?? 0);
  return Math.max(asked, Math.round(ceiling * random));
}
