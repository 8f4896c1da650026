import { formatRef, type Ref, StorageError } from '../contract.ts';
import type { Store } from '../store/store.ts';
import type { Locks } from './locks.ts';

type Parts = Readonly<{
  store: Store;
  locks: Locks;
  /** Why nothing can be written to the store; `null` where it can. */
  unwritable: StorageError | null;
  now: () => number;
}>;

/**
 * Has the tree of a generation be there, laid out now where it is not. Whoever works on the generation
 * is waited for; nobody waits for a tree that is there.
 *
 * @param digest of its content, as the catalog says
 * @returns whether it is: not where the content is another by now
 * @throws StorageError `not_found`, `corrupt` where the archive is not what it was, `disk_full`,
 *   `unavailable` where somebody else works on it for too long
 */
export async function treeOf(parts: Parts, ref: Ref, digest: string): Promise<boolean> {
  const { store, locks, unwritable, now } = parts;
  const isUsed = () => store.layout.isApart || store.trees.markUsed(ref, now());
  const isThere = () => store.trees.isThere(ref, digest) && isUsed();
  if (isThere()) return true;
  if (unwritable !== null) {
    const what = `Cannot lay out ${formatRef(ref)}: nothing can be written to the store`;
    throw new StorageError(unwritable.code, `${what}. get --to copies it to another place`);
  }
  const unlock = await lockWherePossible(locks, ref);
  if (unlock === null) throw new StorageError('not_found', `Cannot find ${formatRef(ref)}`);
  try {
    // Somebody else was quicker.
    if (isThere()) return true;
    await store.trees.layOut(ref);
    return isThere();
  } finally {
    await unlock();
  }
}

/**
 * Where others keep the catalog from everybody it is laid out all the same: reading does not wait for
 * that, and nobody who settles an archive is in the way.
 */
async function lockWherePossible(locks: Locks, ref: Ref): Promise<(() => Promise<void>) | null> {
  try {
    return await locks.lock(ref);
  } catch (error) {
    if (!(error instanceof StorageError) || error.code !== 'unavailable') throw error;
    return async () => {};
  }
}
