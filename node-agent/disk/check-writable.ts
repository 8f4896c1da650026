import { StorageError } from '../contract.ts';

/**
 * @param unwritable why nothing can be written to the store; `null` where it can
 * @throws StorageError that one, of what was to be done
 */
export function checkWritable(unwritable: StorageError | null, doing: string): void {
  if (unwritable === null) return;
  const state = unwritable.message.replace(/^Cannot [^:]*: /, '');
  throw new StorageError(unwritable.code, `Cannot ${doing}: ${state}`, { cause: unwritable });
}
