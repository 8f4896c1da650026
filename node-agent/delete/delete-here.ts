import type { Catalog } from '../catalog/catalog.ts';
import { markDeleted } from '../catalog/deleting.ts';
import type { Ref } from '../contract.ts';
import type { Tell } from '../events/events.ts';
import type { Store } from '../store/store.ts';
import { noteChange } from '../upkeep/listed.ts';
import type { Locks } from '../upkeep/locks.ts';

/**
 * Deletes a generation here: a tombstone, then its files, then the catalog, which owes the
 * deletion to the cloud. It is locked meanwhile: a start after a crash finds the lock, and finishes the deletion.
 *
 * @param why.digest of the content that was deleted in the cloud: what took its place here meanwhile
 *   stays; whoever deletes here deletes whatever it is
 * @returns whether there was something to delete
 * @throws StorageError `unavailable`, `disk_full`, `forbidden`
 */
export async function deleteHere(
  parts: Readonly<{
    store: Store;
    catalog: Catalog;
    locks: Locks;
    now: () => number;
    onEvent: Tell;
  }>,
  ref: Ref,
  why:
    | Readonly<{ where: 'here'; requestId: string | null }>
    | Readonly<{ where: 'cloud'; digest: string | null }>,
): Promise<boolean> {
  const { store, catalog, locks, now, onEvent } = parts;
  const at = new Date(now()).toISOString();
  const unlock = await locks.lock(ref);
  try {
    const row = catalog.generations.find(ref.projectId, ref.version);
    const isCloud = why.where === 'cloud';
    if (isCloud && (unlock === null || row?.digest !== why.digest)) return false;
    const digests = [row?.digest, row?.replaced_digest].filter(
      (digest) => typeof digest === 'string',
    );
    // Also where it is deleted already: what a crash left of it goes now.
    const change = await store.removals.delete(ref, at, digests);
    if (unlock !== null) {
      await catalog.write(() => {
        markDeleted(catalog, ref, at, now());
        noteChange(catalog, ref.projectId, change);
        const { where } = why;
        const requestId = isCloud ? null : why.requestId;
        const digest = row?.digest ?? null;
        onEvent({ kind: 'generation.deleted', ...ref, digest, where, requestId });
      });
    }
  } finally {
    await unlock?.();
  }
  return unlock !== null;
}
