import type { Catalog } from '../catalog/catalog.ts';
import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import type { Cloud } from '../cloud/cloud.ts';
import { formatRef, StorageError } from '../contract.ts';
import type { Tell } from '../events/events.ts';
import type { Store } from '../store/store.ts';
import type { Evicted } from './evict.ts';
import type { Locks } from './locks.ts';
import { mendInCloud, proveInCloud } from './proof.ts';

type Parts = Readonly<{
  store: Store;
  catalog: Catalog;
  locks: Locks;
  /** Why nothing can be written to the store; `null` where it can. */
  unwritable: StorageError | null;
  objects: Cloud['objects'];
  records: Cloud['records'];
  retention: Cloud['retention'];
  now: () => number;
  onEvent: Tell;
  /** Told of what stays because the cloud has it not. Never throws. */
  onProblem: (error: unknown) => void;
}>;

/**
 * Takes originals out of the store that are in the cloud, their bytes proven now: from then on they
 * are got from there. What is active in its project stays; so does what the cloud has not, which is
 * told, and owed to it again.
 *
 * @param before ISO 8601: those that were saved before
 * @throws StorageError `unavailable`; what went until then is gone
 */
export async function evictStored(parts: Parts, before: string): Promise<Evicted> {
  const { store, catalog, onEvent, onProblem } = parts;
  const result = { evicted: 0, bytes: 0 };
  for (const row of catalog.generations.evictable(before)) {
    const ref = refOf(row);
    const isActive = store.active.find(ref.projectId) === ref.version;
    if (isActive || !store.has(ref)) continue;
    const problem = await proveInCloud(parts, row);
    if (problem !== null) {
      onProblem(new StorageError('corrupt', `Cannot evict ${formatRef(ref)}: ${problem.reason}`));
      await mendInCloud(parts, row, problem);
    } else if (await evict(parts, row)) {
      result.evicted++;
      result.bytes += row.source_bytes ?? 0;
    }
  }
  const { evicted, bytes } = result;
  if (evicted > 0) onEvent({ kind: 'store.evicted', from: 'store', generations: evicted, bytes });
  return result;
}

/** Its bytes are proven to be in the cloud. */
function isEvictable(row: GenerationRow): boolean {
  return row.status === 'verified' && row.digest !== null;
}

async function evict({ store, catalog, locks }: Parts, seen: GenerationRow): Promise<boolean> {
  const ref = refOf(seen);
  const unlock = await locks.lock(ref);
  if (unlock === null) return false;
  try {
    const row = catalog.generations.find(ref.projectId, ref.version);
    if (row === null || !isEvictable(row) || row.digest !== seen.digest) return false;
    // It may have become the active one while the cloud was asked.
    if (store.active.find(ref.projectId) === ref.version) return false;
    // What lies there is what was proven, whatever a catalog says.
    if ((await store.readManifest(ref)).digest !== seen.digest) return false;
    await store.removals.discard(ref);
    return true;
  } finally {
    await unlock();
  }
}
