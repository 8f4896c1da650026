import { StorageError } from '../contract.ts';
import { NotAFile } from '../disk/open-inside.ts';

/** Does something with an archive or a tree; `null` where that is not what it was. */
export async function unlessDamaged<T>(work: () => Promise<T>): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof NotAFile) return null;
    if (error instanceof StorageError && error.code === 'corrupt') return null;
    throw error;
  }
}
