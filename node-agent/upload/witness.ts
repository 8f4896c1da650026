import type { Catalog } from '../catalog/catalog.ts';
import type { CloudRecords } from '../cloud/cloud.ts';

type Parts = Readonly<{ catalog: Catalog; records: CloudRecords }>;

/**
 * Tells whether the database knows less than it did: it was put back to an earlier time, or is
 * another one behind the same URL. It is said again until {@link beginAnew}.
 */
export async function isOlder(parts: Parts): Promise<boolean> {
  return !(await checkIn(parts)) || !(await hasWitnesses(parts));
}

/** Forgets what was learnt from a database that knows it no more, once that was told all again. */
export async function beginAnew(parts: Parts): Promise<void> {
  const { catalog } = parts;
  await catalog.write(() => {
    catalog.meta.dropWitnesses();
    catalog.meta.setChangesSeen(0);
    catalog.generations.dropCloudEpochs();
    catalog.meta.setActiveSeen(null);
    catalog.meta.setCheckIns(0);
  });
  await checkIn(parts);
}

/** Whether the database has counted as many check-ins of this host, and as many changes, as the host has. */
async function checkIn({ catalog, records }: Parts): Promise<boolean> {
  // Before it is asked: another process of this store may follow more meanwhile.
  const seen = catalog.meta.changesSeen;
  const answer = await records.checkIn(catalog.meta.hostId, catalog.meta.checkIns);
  // Without our migrations there is nothing to know.
  if (answer.outcome === 'no_database') return true;
  if (answer.outcome === 'older' || answer.last_change < seen) return false;
  await catalog.write(() => catalog.meta.setCheckIns(answer.count));
  return true;
}

/** What this host last recorded there, and what it last deleted: also between two check-ins. */
async function hasWitnesses({ catalog, records }: Parts): Promise<boolean> {
  for (const { ref, isDeleted } of catalog.meta.witnesses()) {
    // Before it is asked, too.
    const epoch = catalog.generations.find(ref.projectId, ref.version)?.cloud_epoch ?? 0;
    const row = await records.find(ref.projectId, ref.version);
    const known = isDeleted ? ['deleted'] : ['uploaded', 'verified', 'deleted'];
    if (row?.generation_id === ref.generationId) {
      // What was deleted may have been undeleted since.
      if (known.includes(row.status) || (epoch > 0 && row.epoch >= epoch)) continue;
    }
    if (row !== null || (await records.isThere())) return false;
  }
  return true;
}
