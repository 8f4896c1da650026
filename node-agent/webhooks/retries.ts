/**
 * When what was not taken is sent again. The wait doubles with each failure up to {@link LONGEST_WAIT_MS},
 * half of it by chance, so that not all come back at once.
 */

/** The first wait, in milliseconds. */
const FIRST_WAIT_MS = 4000;
/** The longest: within it a receiver that is back is noticed. */
const LONGEST_WAIT_MS = 600_000;
/** The longest that a receiver may ask for. */
export const LONGEST_ASKED_MS = 3_600_000;
/** What is owed for longer, and fails, is parked. */
export const PARK_AFTER_MS = 3 * 86_400_000;
/** But not before so many failures in a row, of it or of its receiver. */
export const PARK_AFTER_FAILURES = 20;

/**
 * @param failures how many came before in a row
 * @param random from 0 to 1
 * @param retryAfterMs what the receiver asks for; `null`: nothing
 */
export function waitMs(failures: number, random: number, retryAfterMs: number | null): number {
  const full = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(failures, 20));
  const asked = Math.min(LONGEST_ASKED_MS, retryAfterMs ?? 0);
  return Math.max(asked, Math.round(full * (0.5 + random / 2)));
}
