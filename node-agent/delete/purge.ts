import { setImmediate as breathe } from 'node:timers/promises';
import type { Cloud } from '../cloud/cloud.ts';
import { removeUnneeded } from '../cloud/remove-unneeded.ts';
import type { Store } from '../store/store.ts';

/** What went for good. `contents` are those that something else took the place of. */
export type PurgeReport = Readonly<{ generations: number; contents: number; freedBytes: number }>;

/** How many are purged in one transaction. */
const AT_ONCE = 500;

/**
 * Purges what was deleted or replaced and is kept no longer: from then on it cannot be undone. May be repeated,
 * by several hosts at once; where one ends in the middle, another removes what it left in the cloud.
 *
 * @throws StorageError `unavailable`
 */
export async function purge({ wake, ...parts }: Parts): Promise<PurgeReport> {
  try {
    return await purgeAll(parts);
  } finally {
    wake();
  }
}

type Parts = Readonly<{
  store: Store;
  /** `null` while it is off. */
  cloud: Pick<Cloud, 'objects' | 'retention'> | null;
  now: () => number;
  /** Told of what cannot go. Never throws. */
  onProblem: (error: unknown) => void;
  /** Told that there is work in the background: what is gone is to go from replicas too. */
  wake: () => void;
}>;

async function purgeAll({
  store,
  cloud,
  now,
  onProblem,
}: Omit<Parts, 'wake'>): Promise<PurgeReport> {
  const report = { generations: 0, contents: 0, freedBytes: 0 };
  for (const trashed of store.trash.list()) {
    await breathe();
    if (!(Date.parse(trashed.purgeAt) <= now())) continue;
    try {
      const bytes = await store.trash.remove(trashed);
      // Somebody else was quicker.
      if (bytes === 0) continue;
      report.freedBytes += bytes;
      if (trashed.digest === null) report.generations++;
      else report.contents++;
    } catch (error) {
      // One that cannot go keeps no other from it.
      onProblem(error);
    }
  }
  while (cloud !== null) {
    const { generations, contents, objects } = await cloud.retention.purge(AT_ONCE);
    if (generations + contents === 0) break;
    report.generations += generations;
    report.contents += contents;
    report.freedBytes += await removeUnneeded(cloud, objects);
  }
  return report;
}
