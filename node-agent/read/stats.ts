import type { ActivityRow } from '../catalog/activity.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { StorageError } from '../contract.ts';
import { type Activity, NOTHING_DONE } from '../events/activity.ts';

/** The longest time that is looked back, in days: what is kept. */
export const MOST_DAYS = 400;

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

/** What was done from a time on, until the next one begins. */
export type Span = Activity & Readonly<{ from: string }>;

/** How far it is looked back, and how long a span of it is, in minutes. */
const RANGES = {
  hour: { by: 1, minutes: 1, ms: 60 * MINUTE_MS },
  day: { by: 1, minutes: 15, ms: DAY_MS },
  month: { by: 60, minutes: 1440, ms: 30 * DAY_MS },
} as const;

export type Range = keyof typeof RANGES;
export const RANGE_NAMES = Object.keys(RANGES) as Range[];

/** What was done lately, from the oldest span on: every one of them, the present one last. */
export function listRange(catalog: Catalog, range: Range, now: number): Span[] {
  const { by, minutes, ms } = RANGES[range];
  return fill((from) => catalog.activity.list(by, minutes, from), {
    count: ms / (minutes * MINUTE_MS),
    length: minutes * MINUTE_MS,
    now,
  });
}

/**
 * What was done on the last days, in UTC, today last.
 *
 * @throws StorageError `invalid_input`
 */
export function listDays(catalog: Catalog, days: number, now: number): Span[] {
  if (!Number.isInteger(days) || days < 1 || days > MOST_DAYS) {
    throw new StorageError(
      'invalid_input',
      `Cannot count ${days} days: it is 1 to ${MOST_DAYS}, as long as it is kept`,
    );
  }
  const list = (from: number) => catalog.activity.list(60, 1440, from);
  return fill(list, { count: days, length: DAY_MS, now });
}

/** Those in which nothing was done are named, too. */
function fill(
  list: (from: number) => ActivityRow[],
  { count, length, now }: { count: number; length: number; now: number },
): Span[] {
  const last = Math.floor(now / length) * length;
  const first = last - (count - 1) * length;
  const known = new Map(list(first).map((row) => [row.start, row]));
  return Array.from({ length: count }, (_, i) => {
    const start = first + i * length;
    const { start: _start, ...done } = known.get(start) ?? { start, ...NOTHING_DONE };
    return { from: new Date(start).toISOString(), ...done };
  });
}
