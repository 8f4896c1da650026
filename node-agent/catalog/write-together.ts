import { Grouped } from '../threads/grouped.ts';
import type { Catalog } from './catalog.ts';

/** Writes as {@link Catalog.write} does. */
export type Write = <T>(work: () => T) => Promise<T>;

/** For as long as so many writes take a transaction keeps others waiting. */
const AT_MOST = 32;

/**
 * Makes what writes as {@link Catalog.write} does where much is written at the same time: in one transaction. Where
 * that fails each is written alone, so that none keeps another from it: what is to be written may be called twice.
 */
export function writingTogether(catalog: Catalog): Write {
  const grouped = new Grouped<() => unknown, unknown>(
    async (works) => {
      if (works.length > 1) {
        try {
          const values = await catalog.write(() => works.map((work) => work()));
          return values.map((value) => ({ status: 'fulfilled', value }));
        } catch {
          // Which of them it was nobody knows.
        }
      }
      return Promise.allSettled(works.map((work) => catalog.write(work)));
    },
    { atOnce: 1, most: AT_MOST },
  );
  return <T>(work: () => T) => grouped.run(work) as Promise<T>;
}
