import { type Manifest, type Ref, StorageError } from './contract.ts';
import { type Catalog, refOf, type StoredFacts } from './outbox/catalog.ts';
import type { Instance } from './outbox/instance.ts';
import type { Store } from './store/store.ts';

type Parts = {
  store: Store;
  catalog: Catalog;
  instance: Instance;
  now: () => number;
  /** Told of what on disk cannot be taken into the catalog; it stays where it is. */
  onProblem: (error: unknown) => void;
};

/**
 * Brings catalog and disk together at a start: finishes or takes back the saves of instances that
 * ended in the middle, and reads the disk into a catalog that is new.
 */
export async function reconcile({
  store,
  catalog,
  instance,
  now,
  onProblem,
}: Parts): Promise<void> {
  const isGone = (id: string) => instance.isGone(id);
  for (const ref of store.recoverReplacements(isGone)) {
    if (store.has(ref)) {
      const manifest = store.readManifest(ref);
      catalog.finishReplace(ref, factsOf(manifest), manifest.created_at, now());
    }
  }
  for (const row of catalog.heldGenerations()) {
    if (row.instance_id !== null && isGone(row.instance_id)) catalog.abortReplace(refOf(row));
  }
  for (const row of catalog.unfinishedSaves()) {
    if (row.instance_id !== null && !isGone(row.instance_id)) continue;
    const ref = refOf(row);
    if (store.has(ref)) noteStored(ref);
    else catalog.abortSave(ref);
  }
  if (catalog.isNew) {
    for (const { ref, deletedAt } of store.scan()) {
      try {
        if (deletedAt === null) noteStored(ref);
        else catalog.bury(ref, deletedAt, now());
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        onProblem(error);
      }
    }
  }
  await store.sweepStaging(isGone);

  function noteStored(ref: Ref): void {
    const manifest = store.readManifest(ref);
    catalog.finishSave(ref, factsOf(manifest), manifest.created_at, now());
    const owner = store.readOwner(ref.projectId);
    if (owner !== null) catalog.setOwner(ref.projectId, owner);
  }
}

/** What the manifest says. Hashes of the archive are left out: whoever uploads it makes them. */
function factsOf(manifest: Manifest): StoredFacts {
  return {
    digest: manifest.digest ?? null,
    sha256: null,
    md5: null,
    archiveBytes: null,
    sourceBytes: manifest.total_size_bytes,
    fileCount: manifest.file_count,
  };
}
