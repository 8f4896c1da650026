import type { Catalog } from '../catalog/catalog.ts';
import type { GenerationRow, StoredFacts } from '../catalog/generation-row.ts';
import { finishSave } from '../catalog/saving.ts';
import type { Manifest, Ref } from '../contract.ts';
import type { ArchiveFacts } from '../store/hash.ts';
import type { Store } from '../store/store.ts';

type Parts = Readonly<{ store: Store; catalog: Catalog; now: () => number }>;

/**
 * Takes a generation that lies on disk into the catalog. One that is deleted meanwhile, by another
 * process too, stays deleted.
 *
 * @throws StorageError `corrupt` where it is damaged beyond repair, `conflict`
 */
export async function adopt({ store, catalog, now }: Parts, ref: Ref): Promise<void> {
  const { ownerId, cloudVersion } = store.projects.read(ref.projectId);
  await noteFacts({ store, catalog }, ref, ({ facts, createdAt }) => {
    const isThere = () => store.tombstones.deletedAt(ref) === null;
    finishSave(catalog, ref, facts, createdAt, now(), isThere);
    if (!catalog.projects.has(ref.projectId)) return;
    if (ownerId !== null) catalog.projects.setOwner(ref.projectId, ownerId);
    if (cloudVersion > 0) catalog.projects.setCloudVersion(ref.projectId, cloudVersion, false);
  });
}

/** What the disk says of a generation. */
export type FoundFacts = Readonly<{ facts: StoredFacts; createdAt: string }>;

/**
 * Reads what the disk says of a generation, and notes it in a transaction: once more where somebody
 * replaced it meanwhile, for what was read may be what was there before.
 *
 * @param isKnown whether the row says so already: then nothing is noted
 */
export async function noteFacts(
  { store, catalog }: Pick<Parts, 'store' | 'catalog'>,
  ref: Ref,
  note: (found: FoundFacts, row: GenerationRow | null) => void,
  isKnown: (found: FoundFacts, row: GenerationRow | null) => boolean = () => false,
): Promise<void> {
  const find = () => catalog.generations.find(ref.projectId, ref.version);
  for (;;) {
    const before = find();
    const found = await readFacts(store, ref);
    if (isKnown(found, before)) return;
    const isNoted = await catalog.write(() => {
      const row = find();
      const isSame = row?.digest === before?.digest && row?.created_at === before?.created_at;
      if (isSame) note(found, row);
      return isSame;
    });
    if (isNoted) return;
  }
}

/**
 * What the disk says of a generation. Of one of the Python system nothing is known but its files:
 * it is not owed to the cloud.
 */
export async function readFacts(store: Store, ref: Ref): Promise<FoundFacts> {
  const manifest = await store.readManifest(ref);
  const archive = store.archives.isSettled(ref) ? store.archives.readFacts(ref) : null;
  return factsOf(store, manifest, archive);
}

/**
 * What the manifest of a generation says, and its archive.
 *
 * @param archive `null` where it is not made yet
 */
export function factsOf(
  store: Store,
  manifest: Manifest,
  archive: ArchiveFacts | null,
): FoundFacts {
  const { ownerDecidedAt } = store.projects.read(manifest.project_id);
  const isDecided =
    ownerDecidedAt !== null && Date.parse(manifest.created_at) <= Date.parse(ownerDecidedAt);
  const facts = {
    digest: manifest.digest ?? null,
    sha256: archive?.sha256 ?? null,
    md5: archive?.md5 ?? null,
    archiveBytes: archive?.bytes ?? null,
    sourceBytes: manifest.total_size_bytes,
    fileCount: manifest.file_count,
    ownerId: isDecided ? null : (manifest.owner_id ?? null),
    isReplacement: manifest.replacement === true,
  };
  return { facts, createdAt: manifest.created_at };
}
