/** How many rows of the database are asked for at once. */
export const PAGE = 500;

/**
 * A row bears the time at which its transaction began, and is seen when that ends: so far back each poll
 * looks again, in milliseconds.
 */
const OVERLAP_MS = 10 * 60_000;

/**
 * From when on a poll asks.
 *
 * @param seen up to when rows were seen, in ISO 8601; so is what is returned
 */
export function lookBack(seen: string): string {
  return new Date(Date.parse(seen) - OVERLAP_MS).toISOString();
}
