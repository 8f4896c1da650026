import { readFileSync } from 'node:fs';
import { StorageError } from '../contract.ts';

/** So many are open before anything is saved, and some more for each that is. */
const NEEDED = 64;

/** How many files this process may have open; `null` where that cannot be asked. */
export function openFileLimit(): number | null {
  try {
    const limits = readFileSync('/proc/self/limits', 'utf8');
    const soft = /^Max open files +(\d+)/m.exec(limits)?.[1];
    return soft === undefined ? null : Number(soft);
  } catch {
    return null;
  }
}

/** @throws StorageError `unavailable` where this process may open too few files to do anything */
export function checkOpenFiles(): void {
  const limit = openFileLimit();
  if (limit === null || limit >= NEEDED) return;
  throw new StorageError(
    'unavailable',
    `Cannot open the store: this process may have ${limit} files open, and needs ${NEEDED} at the least. Raise the limit: ulimit -n 4096, or LimitNOFILE of the unit`,
  );
}
