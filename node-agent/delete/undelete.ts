import type { Catalog } from '../catalog/catalog.ts';
import { markWithdrawn } from '../catalog/deleting.ts';
import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import { takeFromCloud } from '../catalog/progress.ts';
import type { Cloud } from '../cloud/cloud.ts';
import { formatRef, isDigest, type Ref, StorageError } from '../contract.ts';
import type { Tell } from '../events/events.ts';
import type { Store } from '../store/store.ts';
import { activate } from '../upkeep/activate.ts';
import { takeBack } from './take-back.ts';
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
  if (digest !== undefined && !isDigest(digest)) {
    const message = `Cannot undelete ${formatRef(want)}: a digest has 64 hexadecimal digits`;
    throw new StorageError('invalid_input', message);
  }
  if (row === null) return undeleteThere(parts, want, digest ?? null);
  const ref = refOf(row);
  const isOther = digest !== undefined && digest !== row.digest;
  if (!isOther && row.state !== 'deleted') return { ref, undeleted: false };
  if (isOther && row.state === 'stored') return bringBack(parts, row, digest);
  const taken = isOther ? null : await takeBack(parts, ref, { where: 'here', requestId });
  if (taken === null) {
    const isWithdrawn = !isOther && (await withdraw(parts, row, requestId));
    if (isWithdrawn) return { ref, undeleted: true };
    return undeleteThere(parts, ref, digest ?? null);
  }
  const { store, catalog, onProblem } = parts;
  const back = catalog.generations.find(ref.projectId, ref.version);
  if (taken.wasActive && back !== null && store.active.find(ref.projectId) === null) {
    await activate(parts, back).catch(onProblem);
  }
  return { ref, undeleted: true };
}

/** Takes a deletion back that the cloud was not told of, of what it has. Jobs of one generation go one after another. */
async function withdraw(
  { store, catalog, now, onEvent }: Parts,
  row: GenerationRow,
  requestId: string | null,
): Promise<boolean> {
  const ref = refOf(row);
  if (row.status !== 'verified' || !catalog.jobs.isDeletionOwed(ref)) return false;
  await store.tombstones.drop(ref, new Date(now()).toISOString());
  return catalog.write(() => {
    const isWithdrawn = markWithdrawn(catalog, ref, now());
    const { digest } = row;
    if (isWithdrawn) {
      onEvent({ kind: 'generation.undeleted', ...ref, digest, where: 'here', requestId });
    }
    return isWithdrawn;
  });
}

/** Has the cloud bring back what a generation held before: what lies here of it is not that, and the cloud keeps it. */
async function bringBack(
  parts: Parts,
  row: GenerationRow,
  digest: string,
): Promise<{ ref: Ref; undeleted: boolean }> {
  const { store, catalog, locks, cloud } = parts;
  const ref = refOf(row);
  if (cloud === null) throw cannot(ref, NOT_HERE);
  const doing = `bring back what ${formatRef(ref)} held before`;
  if (store.active.find(ref.projectId) === ref.version) {
    const state = 'it is the active one on this host, activate another one first';
    throw new StorageError('conflict', `Cannot ${doing}: ${state}`);
  }
  if (store.has(ref) && row.status !== 'verified') {
    const state = `what it holds now is ${row.status}, and not proven to be in the cloud`;
    throw new StorageError('conflict', `Cannot ${doing}: ${state}`);
  }
  const answer = await undeleteThere(parts, ref, digest);
  const record = await cloud.records.find(ref.projectId, ref.version);
  if (record?.digest !== digest) return answer;
  const unlock = await locks.lock(ref);
  try {
    const isSame = catalog.generations.find(ref.projectId, ref.version)?.digest === row.digest;
    const isActive = store.active.find(ref.projectId) === ref.version;
    // What was not followed here is followed from the feed.
    if (unlock === null || !isSame || isActive) return answer;
    await store.removals.discard(ref);
  } finally {
    await unlock?.();
  }
  await catalog.write(() => {
    const isTaken = takeFromCloud(catalog, ref, row.digest, record);
    if (isTaken) catalog.generations.setCloudEpoch(ref, record.epoch);
  });
  return answer;
}

/** Has the cloud undo it, and follows that here. */
async function undeleteThere(
  parts: Parts,
  want: Wanted,
  digest: string | null,
): Promise<{ ref: Ref; undeleted: boolean }> {
  const { cloud } = parts;
  if (cloud === null) throw cannot(want, NOT_HERE);
  const answer = await cloud.retention.recordUndeletion(want, digest, null);
  switch (answer.outcome) {
    case 'undeleted':
    case 'live': {
      const ref = { ...want, generationId: answer.generation_id };
      const record = await cloud.records.find(ref.projectId, ref.version);
      const isBack = record !== null && (await undeleteHere(parts, ref, record, { isAsked: true }));
      return { ref, undeleted: isBack || answer.outcome === 'undeleted' };
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

const NOT_HERE = 'this host does not keep it, and the cloud is off';

function cannot(want: Wanted, why: string): StorageError {
  return new StorageError('not_found', `Cannot undelete ${formatRef(want)}: ${why}`);
}
