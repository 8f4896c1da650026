import type { Cache } from '../cache/cache.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { GenerationRow } from '../catalog/generation-row.ts';
import { notePutBack } from '../catalog/progress.ts';
import type { CloudRecords, CloudRetention } from '../cloud/cloud.ts';
import type { CloudChange } from '../cloud/outcomes.ts';
import { isInCloud, type Ref } from '../contract.ts';
import { deleteHere } from '../delete/delete-here.ts';
import { undeleteHere } from '../delete/undelete-here.ts';
import type { Tell } from '../events/events.ts';
import type { Store } from '../store/store.ts';
import type { Locks } from '../upkeep/locks.ts';
import type { Scan } from '../upkeep/scan.ts';
import { superseded } from './failures.ts';
import { takeOver } from './take-over.ts';

type Parts = Readonly<{
  store: Store;
  cache: Cache;
  catalog: Catalog;
  records: CloudRecords;
  retention: CloudRetention;
  locks: Locks;
  scan: Scan;
  now: () => number;
  isCloudOn: boolean;
  keepDeletedMs: number;
  /** Those that could not be followed so far. */
  failed: Map<string, CloudChange>;
  /** Told of each that the cloud has again. */
  onUndeleted: (ref: Ref) => void;
  /** Told of each that cannot be followed. Never throws. */
  onProblem: (error: unknown) => void;
  onEvent: Tell;
}>;

/** Whether a change was followed, and did something; `again` where somebody was working on it. */
type Followed = boolean | 'again';

/** How many changes are asked for at once. */
const PAGE = 1000;

/**
 * Learns from the database what the web app or another host deleted, undeleted or replaced, and follows it
 * here, in the order of its numbers.
 *
 * @returns how many generations or cached copies it changed
 */
export async function learnChanges(parts: Parts): Promise<number> {
  const { catalog, retention, failed, onProblem } = parts;
  let changed = 0;
  /** One that cannot be followed now keeps no other from being learnt; the next polls try again. */
  const attempt = async (change: CloudChange): Promise<boolean> => {
    const name = `${change.project_id} ${change.version}`;
    try {
      const done = await follow(parts, change);
      if (done === 'again') failed.set(name, change);
      else failed.delete(name);
      return done === true;
    } catch (error) {
      failed.set(name, change);
      onProblem(error);
      return false;
    }
  };
  for (const change of [...failed.values()]) if (await attempt(change)) changed++;
  for (let after = catalog.meta.changesSeen; ; ) {
    const { items, through, hasMore } = await retention.listChanges(after, PAGE);
    for (const change of items) if (await attempt(change)) changed++;
    if (through > after) {
      after = through;
      // No further than what could not be followed: a restart forgets the rest.
      const before = [...failed.values()].map(({ number }) => number - 1);
      const seen = Math.min(after, ...before);
      await catalog.write(() => catalog.meta.setChangesSeen(seen));
    }
    if (!hasMore) return changed;
  }
}

async function follow(parts: Parts, change: CloudChange): Promise<Followed> {
  const { cache, catalog, scan } = parts;
  const { project_id: projectId, version, generation_id: generationId } = change;
  const ref = { projectId, version, generationId };
  const isDeleted = change.status === 'deleted';
  const cached = cache.entries.find(projectId, version, generationId);
  const isStale = cached !== null && (isDeleted || cached.digest !== change.digest);
  if (isStale) await cache.entries.discard(cached.path);
  await scan.project(projectId);
  const row = catalog.generations.find(projectId, version);
  // Another generation may have the version here: its own reservation settles that.
  if (row?.generation_id !== generationId) return isStale;
  // It is being restored, of what the cloud had before.
  if (row.state === 'saving') return 'again';
  // What was deleted here, and is not told, is told; and what is told of an earlier state comes late.
  const isLate = catalog.jobs.isDeletionOwed(ref) || change.epoch <= row.cloud_epoch;
  if (isLate) return isStale;
  const followed = await followIt(parts, ref, row, change);
  if (followed === 'again') return followed;
  await catalog.write(() => catalog.generations.setCloudEpoch(ref, change.epoch));
  return followed || isStale;
}

async function followIt(
  parts: Parts,
  ref: Ref,
  row: GenerationRow,
  change: CloudChange,
): Promise<Followed> {
  if (row.state === 'stored') {
    return change.status === 'deleted'
      ? followDeletion(parts, ref, row, change)
      : followReplacement(parts, ref, row, change);
  }
  if (change.status === 'deleted') {
    return change.purge_at === null && parts.store.trash.drop(ref);
  }
  const found = await parts.records.find(ref.projectId, ref.version);
  if (found?.generation_id !== ref.generationId) return false;
  const isBack = await undeleteHere(parts, ref, found);
  if (isBack) parts.onUndeleted(ref);
  return isBack;
}

async function followDeletion(
  parts: Parts,
  ref: Ref,
  row: GenerationRow,
  { digest, purge_at }: CloudChange,
): Promise<Followed> {
  const { store, onProblem } = parts;
  const isOther = digest !== null && row.digest !== digest;
  // What is on its way, or was given up, is told when it gets there.
  if (isOther && !isInCloud(row.status)) return false;
  if (isOther && store.has(ref)) {
    // Another host replaced it, and it is that which was deleted.
    onProblem(await superseded(parts, row, digest));
    return true;
  }
  const why = { where: 'cloud', digest: row.digest, purge: purge_at === null } as const;
  return (await deleteHere(parts, ref, why)) || 'again';
}

async function followReplacement(
  parts: Parts,
  ref: Ref,
  row: GenerationRow,
  { digest }: CloudChange,
): Promise<Followed> {
  const { store, catalog, records, now, onProblem } = parts;
  if (row.digest === digest) {
    // It was replaced, and put back.
    if (row.cloud_digest === null) return false;
    await catalog.write(() => notePutBack(catalog, ref, row.digest, now()));
    return true;
  }
  // What is still on its way, or was given up, is told when it gets there.
  if (!isInCloud(row.status)) return false;
  if (store.has(ref)) {
    onProblem(await superseded(parts, row, digest));
    return true;
  }
  // Nothing of it is left here: it is what the cloud has.
  const found = await records.find(ref.projectId, ref.version);
  if (found === null || found.generation_id !== ref.generationId) return false;
  return (await takeOver(parts, row, found)) || 'again';
}
