import { Grouped } from '../threads/grouped.ts';
import type { Catalog } from './catalog.ts';

/** Writes as {@link Catalog.write} does. */
export type Write = <T>(work: () => T) => Promise<T>;

/** For as long as so many writes take a transaction keeps others waiting. */
const AT_MOST = 32;

/**
 * Makes what writes as {@link Catalog.write} does where much is written at the same time: in one transaction, of
 * which each write is a part that may fail without the others.
 */
export function writingTogether(catalog: Catalog): Write {
  const grouped = new Grouped<() => unknown, unknown>(
    (works) => catalog.write(() => works.map((work) => catalog.attempt(work))),
    { atOnce: 1, most: AT_MOST },
  );
  return <T>(work: () => T) => grouped.run(work) as Promise<T>;
}
