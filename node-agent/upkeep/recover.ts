import type { Catalog } from '../catalog/catalog.ts';
import { forget, markDeleted, markTakenBack } from '../catalog/deleting.ts';
import { refOf } from '../catalog/generation-row.ts';
import type { Instance } from '../catalog/instance.ts';
import { abortSave, finishReplace, unlock } from '../catalog/saving.ts';
import { type Ref, StorageError } from '../contract.ts';
import type { Store } from '../store/store.ts';
import type { OnDisk } from '../store/stored-generation.ts';
import { adopt, readFacts } from './adopt.ts';

export type Parts = Readonly<{
  store: Store;
  catalog: Catalog;
  instance: Instance;
  now: () => number;
  /** Told of what on disk cannot be taken into the catalog; it stays where it is. */
  onProblem: (error: unknown) => void;
}>;

/**
 * Finishes or takes back, at a start, what instances left that ended in the middle. It is as much
 * as they worked on at once: how many generations there are does not matter.
 */
export async function recover(parts: Parts): Promise<void> {
  const { store, catalog, instance, now } = parts;
  const isGone = (id: string) => instance.isGone(id);
  for (const { ref, done } of await store.replacements.recover(isGone)) {
    await attempt(parts, async () => {
      const { facts, createdAt } = await readFacts(store, ref);
      await catalog.write(() => finishReplace(catalog, ref, facts, createdAt, now()), {
        durably: true,
      });
      done();
    });
  }
  for (const row of catalog.generations.locked()) {
    if (row.instance_id !== null && isGone(row.instance_id)) {
      await attempt(parts, () => settleLocked(parts, refOf(row)));
    }
  }
  for (const row of catalog.generations.saving()) {
    if (row.instance_id === null || isGone(row.instance_id)) await settleSave(parts, refOf(row));
  }
  await store.staging.sweep(isGone);
}

/** Finishes a deletion whose process ended in the middle, or that it was undone; else nothing was changed. */
async function settleLocked(parts: Parts, ref: Ref): Promise<void> {
  const { store, catalog, now } = parts;
  const deletedAt = store.tombstones.deletedAt(ref);
  const row = catalog.generations.find(ref.projectId, ref.version);
  if (row?.state === 'deleted') {
    const isBack = deletedAt === null && store.has(ref);
    const found = isBack ? await readFacts(store, ref) : null;
    await catalog.write(() => {
      unlock(catalog, ref);
      if (found !== null) markTakenBack(catalog, ref, found, 'undelete', now());
    });
    return;
  }
  if (deletedAt === null) await catalog.write(() => unlock(catalog, ref));
  else await finishDeletion(parts, { ref, deletedAt, movedTo: store.tombstones.movedTo(ref) });
}

/** Has disk and catalog hold nothing of what the disk says was deleted, or moved. */
export async function finishDeletion(
  { store, catalog, now }: Pick<Parts, 'store' | 'catalog' | 'now'>,
  { ref, deletedAt, movedTo }: OnDisk & { deletedAt: string },
): Promise<void> {
  // Also where it is known: a crash may have left files.
  const digests = store.tombstones.digestsOf(ref);
  await store.removals.delete(ref, { deleted_at: deletedAt, digests });
  await catalog.write(() => {
    if (movedTo !== null) forget(catalog, ref);
    else if (catalog.generations.find(ref.projectId, ref.version)?.state !== 'deleted') {
      const isOwed = !store.tombstones.isFollowed(ref);
      markDeleted(catalog, ref, deletedAt, now(), { digests, isOwed });
    }
  });
}

/** Finishes a save whose process ended in the middle, or takes it back. */
export async function settleSave(parts: Parts, ref: Ref): Promise<void> {
  if (!parts.store.has(ref)) {
    await parts.catalog.write(() => abortSave(parts.catalog, ref));
    return;
  }
  await attempt(parts, () => adopt(parts, ref));
}

/** One generation that is damaged, or cannot be read, keeps no other from being served. */
export async function attempt(
  { onProblem }: Pick<Parts, 'onProblem'>,
  work: () => Promise<unknown>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    const isOfDisk = (error as NodeJS.ErrnoException).syscall !== undefined;
    if (!(error instanceof StorageError) && !isOfDisk) throw error;
    onProblem(error);
  }
}
