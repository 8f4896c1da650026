import type { Catalog } from '../catalog/catalog.ts';
import { markTakenBack } from '../catalog/deleting.ts';
import { formatRef, type Ref, StorageError } from '../contract.ts';
import type { Tell } from '../events/events.ts';
import type { Store } from '../store/store.ts';
import { readFacts } from '../upkeep/adopt.ts';
import type { Locks } from '../upkeep/locks.ts';

/** What undoing a deletion needs. */
export type Parts = Readonly<{
  store: Store;
  catalog: Catalog;
  locks: Locks;
  now: () => number;
  onEvent: Tell;
}>;

/**
 * Has what the trash keeps of a deleted generation in its place again, and owes its way to the cloud. It is
 * locked meanwhile: a start after a crash finds the lock, and finishes it.
 *
 * @param why.where whether the cloud has undone it already: else it is told first
 * @returns whether it was the active one of its project; `null` where nothing was kept
 * @throws StorageError `unavailable` where somebody else works on it; `disk_full`, `forbidden`, `corrupt`
 */
export async function takeBack(
  parts: Parts,
  ref: Ref,
  why: Readonly<{ where: 'here' | 'cloud'; requestId: string | null }>,
): Promise<{ wasActive: boolean } | null> {
  const { store, catalog, locks, now, onEvent } = parts;
  const kept = store.trash.find(ref);
  if (kept === null) return null;
  const unlock = await locks.lockDeleted(ref);
  if (unlock === null) {
    const state = 'other work on it is under way, try again';
    throw new StorageError('unavailable', `Cannot undelete ${formatRef(ref)}: ${state}`);
  }
  try {
    if (!(await store.removals.takeBack(ref, new Date(now()).toISOString()))) return null;
    const found = await readFacts(store, ref);
    await catalog.write(() => {
      const step = why.where === 'here' ? 'undelete' : 'reserve';
      if (!markTakenBack(catalog, ref, found, step, now())) return;
      onEvent({ kind: 'generation.undeleted', ...ref, digest: found.facts.digest, ...why });
    });
    await store.trash.remove(kept);
    return kept;
  } finally {
    await unlock();
  }
}
