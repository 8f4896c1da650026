import { objectKey, type Ref, StorageError } from './contract.ts';
import { type Catalog, refOf, type StoredFacts } from './outbox/catalog.ts';
import type { Instance } from './outbox/instance.ts';
import { readBootId } from './store/boot.ts';
import type { Store } from './store/store.ts';

export type Parts = Readonly<{
  store: Store;
  catalog: Catalog;
  instance: Instance;
  now: () => number;
  /** Told of what on disk cannot be taken into the catalog; it stays where it is. */
  onProblem: (error: unknown) => void;
}>;

/**
 * Brings catalog and disk together at a start. Always: what instances left that ended in the
 * middle is finished or taken back. Once in a run of the machine, and for a catalog that is new:
 * a power loss may have taken what was not synced, so trees are compared with their archives and
 * the whole disk is read into the catalog.
 */
export async function reconcile(parts: Parts): Promise<void> {
  const { store, catalog, instance, now } = parts;
  const isGone = (id: string) => instance.isGone(id);
  const bootId = readBootId();
  const rebooted = catalog.scannedBoot !== bootId;

  for (const { ref, done } of await store.recoverReplacements(isGone)) {
    await attempt(parts, async () => {
      if (rebooted) await store.repairTree(ref);
      const { facts, createdAt } = readFacts(store, ref);
      catalog.finishReplace(ref, facts, createdAt, now());
      done();
    });
  }
  for (const row of catalog.heldGenerations()) {
    if (row.instance_id !== null && isGone(row.instance_id)) await settleHeld(parts, refOf(row));
  }
  for (const row of catalog.unfinishedSaves()) {
    if (row.instance_id === null || isGone(row.instance_id)) await settleSave(parts, refOf(row));
  }
  if (rebooted) {
    for (const row of catalog.unsynced()) {
      await attempt(parts, () => store.repairTree(refOf(row)));
    }
    for (const { ref, deletedAt } of store.scan(parts.onProblem)) {
      await attempt(parts, async () => {
        const row = catalog.find(ref.projectId, ref.version);
        const known = row?.generation_id === ref.generationId;
        if (deletedAt !== null) {
          // Also where it is known: a crash may have left files.
          await store.bury(ref, deletedAt);
          if (!known || row.state !== 'deleted') catalog.bury(ref, deletedAt, now());
        } else if (!known || row.state !== 'stored') {
          await takeUp(parts, ref);
        }
      });
    }
    catalog.setScannedBoot(bootId);
  }
  await store.sweepStaging(isGone);
}

/** Finishes a deletion whose process ended in the middle; else nothing was changed. */
async function settleHeld({ store, catalog, now }: Parts, ref: Ref): Promise<void> {
  const deletedAt = store.buriedAt(ref);
  if (deletedAt === null) {
    catalog.release(ref);
    return;
  }
  await store.bury(ref, deletedAt);
  catalog.bury(ref, deletedAt, now());
}

/** Finishes a save whose process ended in the middle, or takes it back. */
export async function settleSave(parts: Parts, ref: Ref): Promise<void> {
  if (!parts.store.has(ref)) {
    parts.catalog.abortSave(ref);
    return;
  }
  await attempt(parts, () => takeUp(parts, ref));
}

/**
 * Takes what lies on disk into the catalog.
 *
 * @throws StorageError `corrupt` where it is damaged beyond repair, `conflict`
 */
export async function takeUp(
  { store, catalog, now }: Pick<Parts, 'store' | 'catalog' | 'now'>,
  ref: Ref,
): Promise<void> {
  if (store.has(ref)) await store.repairTree(ref);
  const { facts, createdAt } = readFacts(store, ref);
  catalog.finishSave(ref, facts, createdAt, now());
  const owner = store.readOwner(ref.projectId);
  if (owner !== null) catalog.setOwner(ref.projectId, owner);
}

/** One generation that is damaged, or cannot be read, keeps no other from being served. */
async function attempt({ onProblem }: Parts, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    const isOfDisk = (error as NodeJS.ErrnoException).syscall !== undefined;
    if (!(error instanceof StorageError) && !isOfDisk) throw error;
    onProblem(error);
  }
}

/**
 * What the disk says of a generation. Of one of the Python system nothing is known but its files:
 * it is not owed to the cloud.
 */
function readFacts(store: Store, ref: Ref): { facts: StoredFacts; createdAt: string } {
  const manifest = store.readManifest(ref);
  const archive = store.readArchiveFacts(ref);
  const isReplacement = archive !== null && store.isReplacement(ref);
  const facts = {
    digest: manifest.digest ?? null,
    sha256: archive?.sha256 ?? null,
    md5: archive?.md5 ?? null,
    archiveBytes: archive?.bytes ?? null,
    sourceBytes: manifest.total_size_bytes,
    fileCount: manifest.file_count,
    ownerId: manifest.owner_id ?? null,
    objectKey: isReplacement ? objectKey(ref, archive.sha256) : null,
  };
  return { facts, createdAt: manifest.created_at };
}
