import type { Catalog } from '../catalog/catalog.ts';
import { formatRef, type Ref, StorageError } from '../contract.ts';
import type { ArchiveFacts } from '../store/hash.ts';
import type { Store } from '../store/store.ts';
import type { Locks } from './locks.ts';

type Parts = Readonly<{ store: Store; locks: Locks; catalog: Catalog }>;

/** An archive on disk, and what it is. */
type Archive = ArchiveFacts & { path: string };

/** With the digest of what is in it. */
type Noted = Archive & { digest: string | null };

/**
 * The archive of a generation, as a file to read at once; made now where it is not yet, or packed
 * again from its tree where it is gone. The generation is locked meanwhile, so that no replacement
 * comes between.
 *
 * @throws StorageError `not_found`, `corrupt` where the tree is not what its manifest says,
 *   `unavailable` where somebody else works on it for too long
 */
export async function archiveOf(parts: Parts, ref: Ref): Promise<Archive> {
  return (await parts.store.archives.find(ref)) ?? noteArchive(parts, ref);
}

/**
 * Notes what the archive of a generation is: made first, where it is missing.
 *
 * @throws StorageError as {@link archiveOf}
 */
export function noteArchive(parts: Parts, ref: Ref): Promise<Noted> {
  return make(parts, ref, () => parts.store.archives.find(ref));
}

/**
 * The same where its bytes may not be what they were: they are read, and packed again then.
 *
 * @throws StorageError as {@link archiveOf}
 */
export function packAgain(parts: Parts, ref: Ref): Promise<Noted> {
  return make(parts, ref, () => findSound(parts.store, ref));
}

async function make(
  { store, locks, catalog }: Parts,
  ref: Ref,
  find: () => Promise<Archive | null>,
): Promise<Noted> {
  const unlock = await locks.lock(ref);
  if (unlock === null) throw new StorageError('not_found', `Cannot find ${formatRef(ref)}`);
  try {
    const archive =
      (await settle(store, ref)) ?? (await find()) ?? (await store.archives.repack(ref));
    const { sha256, md5, bytes } = archive;
    return await catalog.write(() => {
      catalog.generations.update(ref, { sha256, md5, archive_bytes: bytes });
      const row = catalog.generations.find(ref.projectId, ref.version);
      return { ...archive, digest: row?.digest ?? null };
    });
  } finally {
    await unlock();
  }
}

async function findSound(store: Store, ref: Ref) {
  const found = await store.archives.find(ref);
  return found !== null && (await store.archives.isSound(ref)) ? found : null;
}

/** `null` also where what a save laid down was damaged since: the tree may be whole. */
async function settle(store: Store, ref: Ref) {
  try {
    return await store.archives.settle(ref);
  } catch (error) {
    if (!(error instanceof StorageError) || error.code !== 'corrupt') throw error;
    return null;
  }
}
