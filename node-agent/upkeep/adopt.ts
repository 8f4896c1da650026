import type { Catalog } from '../catalog/catalog.ts';
import type { StoredFacts } from '../catalog/generation-row.ts';
import { finishSave } from '../catalog/saving.ts';
import type { Ref } from '../contract.ts';
import type { Store } from '../store/store.ts';

type Parts = Readonly<{ store: Store; catalog: Catalog; now: () => number }>;

/**
 * Takes a generation that lies on disk into the catalog. One that is deleted meanwhile, by another
 * process too, stays deleted.
 *
 * @throws StorageError `corrupt` where it is damaged beyond repair, `conflict`
 */
export async function adopt({ store, catalog, now }: Parts, ref: Ref): Promise<void> {
  const { facts, createdAt } = await readFacts(store, ref);
  const { ownerId, cloudVersion } = store.projects.read(ref.projectId);
  await catalog.write(() => {
    finishSave(
      catalog,
      ref,
      facts,
      createdAt,
      now(),
      () => store.tombstones.deletedAt(ref) === null,
    );
    if (!catalog.projects.has(ref.projectId)) return;
    if (ownerId !== null) catalog.projects.setOwner(ref.projectId, ownerId);
    if (cloudVersion > 0) catalog.projects.setCloudVersion(ref.projectId, cloudVersion, false);
  });
}

/**
 * What the disk says of a generation. Of one of the Python system nothing is known but its files:
 * it is not owed to the cloud.
 */
export async function readFacts(
  store: Store,
  ref: Ref,
): Promise<{ facts: StoredFacts; createdAt: string }> {
  const manifest = await store.readManifest(ref);
  const archive = store.archives.isSettled(ref) ? store.archives.readFacts(ref) : null;
  const facts = {
    digest: manifest.digest ?? null,
    sha256: archive?.sha256 ?? null,
    md5: archive?.md5 ?? null,
    archiveBytes: archive?.bytes ?? null,
    sourceBytes: manifest.total_size_bytes,
    fileCount: manifest.file_count,
    ownerId: manifest.owner_id ?? null,
    isReplacement: manifest.replacement === true,
  };
  return { facts, createdAt: manifest.created_at };
}
