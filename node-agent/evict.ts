import type { CloudObjects } from './cloud/objects.ts';
import type { CloudRecords } from './cloud/records.ts';
import type { Holds } from './holds.ts';
import { type Catalog, type GenerationRow, keyOf, refOf } from './outbox/catalog.ts';
import type { Store } from './store/store.ts';

type Parts = Readonly<{
  store: Store;
  catalog: Catalog;
  holds: Holds;
  cloud: Readonly<{ objects: CloudObjects; records: CloudRecords }>;
}>;

/** What went from the store. */
export type Evicted = Readonly<{ evicted: number; bytes: number }>;

/**
 * Takes originals out of the store that are in the cloud, their bytes proven: from then on they are
 * got from there. The cloud is asked again, for each, whether it still has them. What is active in
 * its project stays.
 *
 * @param before ISO 8601: those that were saved before
 * @throws StorageError `unavailable`; what went until then is gone
 */
export async function evictStored(parts: Parts, before: string): Promise<Evicted> {
  const { store, catalog } = parts;
  const result = { evicted: 0, bytes: 0 };
  for (const row of catalog.evictable(before)) {
    const ref = refOf(row);
    const isActive = store.findActive(ref.projectId) === ref.version;
    if (isActive || !store.has(ref)) continue;
    if (!(await isInBucket(parts, row)) || !(await evict(parts, row))) continue;
    result.evicted++;
    result.bytes += row.source_bytes ?? 0;
  }
  return result;
}

/** Its bytes were proven, and nothing on disk is still vouched for by its archive alone. */
function isEvictable(row: GenerationRow): boolean {
  return row.status === 'verified' && row.tree_synced === 1 && row.digest !== null;
}

/** What was proven once is asked for again: the bucket may have lost it since. */
async function isInBucket({ cloud }: Parts, row: GenerationRow): Promise<boolean> {
  const record = await cloud.records.find(row.project_id, row.version);
  const info = await cloud.objects.info(record?.object_key ?? keyOf(row));
  if (info === null) return false;
  const sha256 = record?.sha256 ?? row.sha256;
  return record === null || record.archive_bytes === null
    ? info.sha256 === sha256
    : info.bytes === record.archive_bytes && (info.sha256 === null || info.sha256 === sha256);
}

async function evict({ store, catalog, holds }: Parts, seen: GenerationRow): Promise<boolean> {
  const ref = refOf(seen);
  const giveBack = await holds.hold(ref);
  if (giveBack === null) return false;
  try {
    const row = catalog.find(ref.projectId, ref.version);
    if (row === null || !isEvictable(row) || row.digest !== seen.digest) return false;
    await store.discard(ref);
    return true;
  } finally {
    giveBack();
  }
}
