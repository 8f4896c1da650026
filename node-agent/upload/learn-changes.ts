import type { Cache } from '../cache/cache.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { GenerationRow } from '../catalog/generation-row.ts';
import { notePutBack } from '../catalog/progress.ts';
import type { CloudChange } from '../cloud/outcomes.ts';
import type { ChangePosition, CloudRecords } from '../cloud/records.ts';
import { isInCloud, type Ref } from '../contract.ts';
import { deleteHere } from '../delete/delete-here.ts';
import type { Tell } from '../events/events.ts';
import type { Store } from '../store/store.ts';
import type { Locks } from '../upkeep/locks.ts';
import type { Scan } from '../upkeep/scan.ts';
import { superseded } from './failures.ts';
import { lookBack, PAGE } from './look-back.ts';
import { takeOver } from './take-over.ts';

type Parts = Readonly<{
  store: Store;
  cache: Cache;
  catalog: Catalog;
  records: CloudRecords;
  locks: Locks;
  scan: Scan;
  now: () => number;
  /** Those that could not be followed so far. */
  failed: Map<string, CloudChange>;
  /** Told of each that cannot be followed. Never throws. */
  onProblem: (error: unknown) => void;
  onEvent: Tell;
}>;

/**
 * Learns from the database what the web app or another host deleted or replaced, and follows it
 * here.
 *
 * @returns how many generations or cached copies it changed
 */
export async function learnChanges(parts: Parts): Promise<number> {
  const { catalog, records, failed, onProblem } = parts;
  let changed = 0;
  /** One that cannot be followed now keeps no other from being learnt; the next polls try again. */
  const attempt = async (change: CloudChange): Promise<boolean> => {
    const name = `${change.project_id} ${change.version}`;
    try {
      const done = await follow(parts, change);
      failed.delete(name);
      return done;
    } catch (error) {
      failed.set(name, change);
      onProblem(error);
      return false;
    }
  };
  for (const change of [...failed.values()]) if (await attempt(change)) changed++;
  const lastSeen = catalog.meta.changesSeen;
  let position: ChangePosition | null =
    lastSeen === null ? null : { changed_at: lookBack(lastSeen), project_id: '', version: 0 };
  for (;;) {
    const page = await records.listChanges(position, PAGE);
    for (const change of page) if (await attempt(change)) changed++;
    const last = page.at(-1);
    if (last !== undefined) {
      position = last;
      // No further than what could not be followed: a restart forgets the rest.
      const seen = earliest([last, ...failed.values()]);
      await catalog.write(() => catalog.meta.setChangesSeen(seen));
    }
    if (page.length < PAGE) return changed;
  }
}

function earliest(changes: readonly CloudChange[]): string {
  const [first] = changes.map((change) => change.changed_at).sort(byTime);
  return first!;
}

function byTime(a: string, b: string): number {
  return Date.parse(a) - Date.parse(b);
}

async function follow(parts: Parts, change: CloudChange): Promise<boolean> {
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
  if (row?.generation_id !== generationId || row.state !== 'stored') return isStale;
  const followed = isDeleted
    ? await followDeletion(parts, ref, row, change)
    : await followReplacement(parts, ref, row, change);
  return followed || isStale;
}

async function followDeletion(
  parts: Parts,
  ref: Ref,
  row: GenerationRow,
  { digest }: CloudChange,
): Promise<boolean> {
  const { store, onProblem } = parts;
  const isOther = digest !== null && row.digest !== digest;
  // What is on its way, or was given up, is told when it gets there.
  if (isOther && !isInCloud(row.status)) return false;
  if (isOther && store.has(ref)) {
    // Another host replaced it, and it is that which was deleted.
    onProblem(await superseded(parts, row, digest));
    return true;
  }
  return deleteHere(parts, ref, { where: 'cloud', digest: row.digest });
}

async function followReplacement(
  parts: Parts,
  ref: Ref,
  row: GenerationRow,
  { digest }: CloudChange,
): Promise<boolean> {
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
  return takeOver(parts, row, found);
}
