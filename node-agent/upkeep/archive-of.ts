import type { Catalog } from '../catalog/catalog.ts';
import { formatRef, type Ref, StorageError } from '../contract.ts';
import type { ArchiveFacts } from '../store/hash.ts';
import type { Store } from '../store/store.ts';
import type { Locks } from './locks.ts';

type Parts = Readonly<{ store: Store; locks: Locks; catalog: Catalog }>;

/**
 * The archive of a generation, as a file to read at once; packed again from its tree where it was
 * retired. The generation is locked meanwhile, so that no replacement comes between.
 *
 * @throws StorageError `not_found`, `corrupt` where the tree is not what its manifest says,
 *   `unavailable` where somebody else works on it for too long
 */
export async function archiveOf(
  { store, locks, catalog }: Parts,
  ref: Ref,
): Promise<ArchiveFacts & { path: string }> {
  const kept = await store.archives.find(ref);
  return kept ?? packAgain({ store, locks, catalog }, ref);
}

/**
 * Makes the archive of a generation again from its tree, where it is missing or not what it was.
 *
 * @throws StorageError as {@link archiveOf}
 */
export async function packAgain(
  { store, locks, catalog }: Parts,
  ref: Ref,
): Promise<ArchiveFacts & { path: string }> {
  const unlock = await locks.lock(ref);
  if (unlock === null) throw new StorageError('not_found', `Cannot find ${formatRef(ref)}`);
  try {
    const found = await store.archives.find(ref);
    const archive =
      found !== null && (await store.archives.isSound(ref))
        ? found
        : await store.archives.repack(ref);
    // So that it is retired again, some time after.
    await catalog.write(() => catalog.generations.update(ref, { archive_kept: 1 }));
    return archive;
  } finally {
    await unlock();
  }
}
