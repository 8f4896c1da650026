import type { Catalog } from '../catalog/catalog.ts';
import { formatRef, type Ref, StorageError } from '../contract.ts';
import type { Tell } from '../events/events.ts';
import type { ArchiveFacts } from '../store/hash.ts';
import type { Store } from '../store/store.ts';
import { unlessDamaged } from '../store/unless-damaged.ts';
import type { Locks } from './locks.ts';

type Parts = Readonly<{ store: Store; locks: Locks; catalog: Catalog; onEvent: Tell }>;

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
  const { store } = parts;
  return make(parts, ref, async (digest) => {
    return (await store.archives.find(ref)) ?? describe(store, ref, digest);
  });
}

/**
 * The same where its bytes may not be what they were: they are read, and packed again then.
 *
 * @throws StorageError as {@link archiveOf}
 */
export function packAgain(parts: Parts, ref: Ref): Promise<Noted> {
  return make(parts, ref, (digest) => findSound(parts.store, ref, digest));
}

async function make(
  { store, locks, catalog, onEvent }: Parts,
  ref: Ref,
  find: (digest: string | null) => Promise<Archive | null>,
): Promise<Noted> {
  const unlock = await locks.lock(ref);
  if (unlock === null) throw new StorageError('not_found', `Cannot find ${formatRef(ref)}`);
  try {
    const digest = catalog.generations.find(ref.projectId, ref.version)?.digest ?? null;
    const settled = await settle(store, ref);
    const archive = settled ?? (await find(digest)) ?? (await store.archives.repack(ref));
    const { sha256, md5, bytes } = archive;
    const noted = await catalog.write(() => {
      // Whoever took this process for gone may have replaced it.
      catalog.generations.update(ref, { sha256, md5, archive_bytes: bytes }, digest);
      const row = catalog.generations.find(ref.projectId, ref.version);
      if (settled !== null) {
        onEvent({ kind: 'generation.settled', ...ref, digest, sha256, bytes });
      }
      return { ...archive, digest: row?.digest ?? null };
    });
    return noted;
  } finally {
    await unlock();
  }
}

async function findSound(store: Store, ref: Ref, digest: string | null) {
  const { archives } = store;
  const found = await archives.find(ref);
  const isOfIt = archives.readFacts(ref)?.digest === digest;
  return found !== null && isOfIt && (await archives.isSound(ref))
    ? found
    : describe(store, ref, digest);
}

/** What was written down of it may have been lost, or may lie: it follows from its bytes. */
async function describe({ archives }: Store, ref: Ref, digest: string | null) {
  if (digest === null || !archives.isSettled(ref)) return null;
  return unlessDamaged(() => archives.describe(ref, digest));
}

/** `null` also where what a save laid down was damaged since: the tree may be whole. */
function settle({ archives }: Store, ref: Ref) {
  return unlessDamaged(() => archives.settle(ref));
}
