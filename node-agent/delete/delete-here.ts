import type { Catalog } from '../catalog/catalog.ts';
import { markDeleted } from '../catalog/deleting.ts';
import type { Ref } from '../contract.ts';
import type { Tell } from '../events/events.ts';
import { type Parts as KeepParts, keptUntil } from '../upkeep/kept-until.ts';
import { noteChange } from '../upkeep/listed.ts';
import type { Locks } from '../upkeep/locks.ts';

type Parts = KeepParts & Readonly<{ catalog: Catalog; locks: Locks; onEvent: Tell }>;

/**
 * Deletes a generation here: a tombstone, then its files, then the catalog, which owes the
 * deletion to the cloud. What the cloud is not proven to have is kept for as long as that can be undone. It is
 * locked meanwhile: a start after a crash finds the lock, and finishes the deletion.
 *
 * @param why.purge whether nothing of it is kept
 * @param why.digest of the content that was deleted in the cloud: what took its place here meanwhile
 *   stays; whoever deletes here deletes whatever it is
 * @returns whether there was something to delete
 * @throws StorageError `unavailable`, `disk_full`, `forbidden`
 */
export async function deleteHere(
  parts: Parts,
  ref: Ref,
  why:
    | Readonly<{ where: 'here'; requestId: string | null; purge: boolean }>
    | Readonly<{ where: 'cloud'; digest: string | null; purge: boolean }>,
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
    const purgeAt = why.purge ? null : await keptUntil(parts, row);
    const change = await store.removals.delete(ref, {
      ...{ deleted_at: at, digests },
      ...(purgeAt === null ? {} : { purge_at: purgeAt }),
      // A start after a crash finishes it, and tells nobody: it may be undone by then.
      ...(isCloud ? { followed: true } : {}),
    });
    if (unlock !== null) {
      await catalog.write(() => {
        markDeleted(catalog, ref, at, now(), { isOwed: !isCloud });
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
