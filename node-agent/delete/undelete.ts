import type { Catalog } from '../catalog/catalog.ts';
import { markRestored } from '../catalog/deleting.ts';
import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import type { Cloud } from '../cloud/cloud.ts';
import { formatRef, type Ref, StorageError } from '../contract.ts';
import type { Tell } from '../events/events.ts';
import type { Store } from '../store/store.ts';
import { activate } from '../upkeep/activate.ts';
import { readFacts } from '../upkeep/adopt.ts';
import { undeleteHere } from './undelete-here.ts';

type Parts = Parameters<typeof activate>[0] &
  Readonly<{
    store: Store;
    catalog: Catalog;
    /** `null` while it is off. */
    cloud: Cloud | null;
    now: () => number;
    onEvent: Tell;
    /** Told of what could not be done beside it. Never throws. */
    onProblem: (error: unknown) => void;
  }>;

/** A generation, whose id may not be known here. */
type Wanted = Readonly<{ projectId: string; version: number; generationId?: string }>;

/** @property digest of content that was replaced: it takes the place of what is there */
export type UndeleteOptions = Readonly<{ digest?: string; requestId?: string | null }>;

/**
 * Undoes a deletion, or a replacement. What this host kept is back at once, and the cloud is told soon
 * after; what the cloud alone keeps comes back there, and is got from there. Where nothing is deleted,
 * all is as it is.
 *
 * @param row what this host knows of it; `null` where it knows nothing
 * @returns whether there was something to undo
 * @throws StorageError `not_found` where it is kept nowhere any more, `unavailable` where the cloud would have to be
 *   asked, and is off or away
 */
export async function undelete(
  parts: Parts,
  want: Wanted,
  row: GenerationRow | null,
  { digest, requestId = null }: UndeleteOptions,
): Promise<{ ref: Ref; undeleted: boolean }> {
  if (digest !== undefined && !/^[0-9a-f]{64}$/.test(digest)) {
    const message = `Cannot undelete ${formatRef(want)}: a digest has 64 hexadecimal digits`;
    throw new StorageError('invalid_input', message);
  }
  if (row === null) return undeleteThere(parts, want, digest ?? null);
  const ref = refOf(row);
  const isOther = digest !== undefined && digest !== row.digest;
  if (!isOther && row.state !== 'deleted') return { ref, undeleted: false };
  if (!isOther && (await restore(parts, row, requestId))) return { ref, undeleted: true };
  return undeleteThere(parts, ref, digest ?? null);
}

/**
 * Has what was kept here in its place again.
 *
 * @returns whether it was kept here
 */
async function restore(
  parts: Parts,
  row: GenerationRow,
  requestId: string | null,
): Promise<boolean> {
  const { store, catalog, now, onEvent } = parts;
  const ref = refOf(row);
  const kept = store.trash.find(ref);
  if (kept === null) return false;
  if (!(await store.removals.takeBack(ref, new Date(now()).toISOString()))) return false;
  const found = await readFacts(store, ref);
  await catalog.write(() => {
    if (!markRestored(catalog, ref, found, now())) return;
    const { digest } = found.facts;
    onEvent({ kind: 'generation.undeleted', ...ref, digest, where: 'here', requestId });
  });
  await store.trash.drop(ref);
  if (kept.wasActive && store.active.find(ref.projectId) === null) {
    const restored = catalog.generations.find(ref.projectId, ref.version);
    if (restored !== null) await activate(parts, restored).catch(parts.onProblem);
  }
  return true;
}

/** Has the cloud undo it, and follows that here. */
async function undeleteThere(
  parts: Parts,
  want: Wanted,
  digest: string | null,
): Promise<{ ref: Ref; undeleted: boolean }> {
  const { cloud, catalog } = parts;
  if (cloud === null) throw cannot(want, 'this host does not keep it, and the cloud is off');
  const answer = await cloud.retention.recordUndeletion(want, digest);
  switch (answer.outcome) {
    case 'undeleted':
    case 'live': {
      const ref = { ...want, generationId: answer.generation_id };
      const record = await cloud.records.find(ref.projectId, ref.version);
      if (record !== null) await undeleteHere(parts, ref, record);
      await catalog.write(() => catalog.generations.setCloudEpoch(ref, answer.epoch));
      return { ref, undeleted: answer.outcome === 'undeleted' };
    }
    case 'no_content':
      throw cannot(want, 'the cloud keeps no such content of it');
    case 'purged':
      throw cannot(want, 'it was purged, nothing of it is left');
    case 'missing':
    case 'no_database':
      throw cannot(want, 'neither this host nor the cloud keeps it');
  }
}

function cannot(want: Wanted, why: string): StorageError {
  return new StorageError('not_found', `Cannot undelete ${formatRef(want)}: ${why}`);
}
