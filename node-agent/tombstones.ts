import { bury } from './bury.ts';
import type { Cache } from './cache/cache.ts';
import type { CloudRecords, CloudTombstone, TombstonePosition } from './cloud/records.ts';
import type { Holds } from './holds.ts';
import type { Catalog } from './outbox/catalog.ts';
import type { Scan } from './scan.ts';
import type { Store } from './store/store.ts';

type Parts = Readonly<{
  store: Store;
  cache: Cache;
  catalog: Catalog;
  records: CloudRecords;
  holds: Holds;
  scan: Scan;
  now: () => number;
  /** Those that could not be removed so far. */
  failed: Map<string, CloudTombstone>;
  /** Told of each that cannot be removed. Never throws. */
  onProblem: (error: unknown) => void;
}>;

const PAGE = 500;

/**
 * A tombstone bears the time at which its transaction began and is seen when that ends: so far
 * back each poll looks again.
 */
const OVERLAP_MS = 10 * 60_000;

/**
 * Learns from the tombstones in the database what the web app or another host deleted, and removes
 * it here.
 *
 * @returns how many generations or cached copies went
 */
export async function learnDeletions(parts: Parts): Promise<number> {
  const { catalog, records, failed, onProblem } = parts;
  let removed = 0;
  /** One that cannot be removed now keeps no other from being learnt; the next polls try again. */
  const attempt = async (tombstone: CloudTombstone): Promise<boolean> => {
    const name = `${tombstone.project_id} ${tombstone.version}`;
    try {
      const done = await remove(parts, tombstone);
      failed.delete(name);
      return done;
    } catch (error) {
      failed.set(name, tombstone);
      onProblem(error);
      return false;
    }
  };
  for (const tombstone of [...failed.values()]) if (await attempt(tombstone)) removed++;
  let position = startFrom(catalog.tombstonesSeen);
  for (;;) {
    const page = await records.listTombstones(position, PAGE);
    for (const tombstone of page) {
      if (await attempt(tombstone)) removed++;
    }
    position = page.at(-1) ?? position;
    if (page.length > 0) catalog.setTombstonesSeen(page.at(-1)!.deleted_at);
    if (page.length < PAGE) return removed;
  }
}

function startFrom(seen: string | null): TombstonePosition | null {
  if (seen === null) return null;
  const deletedAt = new Date(Date.parse(seen) - OVERLAP_MS).toISOString();
  return { deleted_at: deletedAt, project_id: '', version: 0 };
}

async function remove(parts: Parts, tombstone: CloudTombstone): Promise<boolean> {
  const { cache, catalog, scan } = parts;
  const { project_id: projectId, version, generation_id: generationId } = tombstone;
  const ref = { projectId, version, generationId };
  const cached = cache.find(projectId, version, generationId);
  if (cached !== null) await cache.evict(cached);
  await scan.project(projectId);
  const row = catalog.find(projectId, version);
  // Another generation may have the version here: its own reservation settles that.
  if (row?.generation_id !== generationId || row.state !== 'stored') return cached !== null;
  // What never got there is not what was deleted there.
  const isOther = tombstone.digest !== null && row.digest !== tombstone.digest;
  if (isOther && row.uploaded_at === null) return cached !== null;
  return bury(parts, ref);
}
