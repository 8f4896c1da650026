import type { CloudRecords } from './cloud/records.ts';
import type { Catalog } from './outbox/catalog.ts';

type Parts = Readonly<{ catalog: Catalog; records: CloudRecords }>;

/**
 * Tells whether the database knows less than it did: it was put back to an earlier time, or is
 * another one behind the same URL. What was learnt from it is forgotten then.
 */
export async function isOlder(parts: Parts): Promise<boolean> {
  const { catalog } = parts;
  const isKnown = (await checkIn(parts)) && (await hasWitnesses(parts));
  if (isKnown) return false;
  await catalog.write(() => {
    catalog.dropWitnesses();
    catalog.setChangesSeen(null);
  });
  return true;
}

/** Of how often this host was there, the database knows as much as the host. */
async function checkIn({ catalog, records }: Parts): Promise<boolean> {
  const { hostId, count } = catalog.checkIns;
  const answer = await records.checkIn(hostId, count);
  // Without our migrations there is nothing to know.
  if (answer.outcome === 'no_database') return true;
  await catalog.write(() => catalog.setCheckIns({ hostId, count: answer.count }));
  return answer.outcome === 'known';
}

/** What this host last recorded there, and what it last deleted: also between two check-ins. */
async function hasWitnesses({ catalog, records }: Parts): Promise<boolean> {
  for (const { ref, isDeleted } of catalog.witnesses()) {
    const row = await records.find(ref.projectId, ref.version);
    const known = isDeleted ? ['deleted'] : ['uploaded', 'verified', 'deleted'];
    if (row?.generation_id === ref.generationId && known.includes(row.status)) continue;
    if (row !== null || (await records.isThere())) return false;
  }
  return true;
}
