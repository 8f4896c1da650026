import { FIRST_WAIT_MS, LONGEST_WAIT_MS } from './retries.ts';

/**
 * How long to wait after a failure: exponential with full jitter, up to {@link FIRST_WAIT_MS} after
 * the first, and never less than the other side asked for.
 *
 * @param attempts how many failed before this one
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
  const ceiling = Math.min(capMs, FIRST_WAIT_MS * 2 ** Math.min(attempts, 20));
  const asked = Math.min(LONGEST_WAIT_MS, retryAfterMs ?? 0);
  return Math.max(asked, Math.round(ceiling * random));
}
