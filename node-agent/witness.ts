import type { CloudRecords } from './cloud/records.ts';
import type { Catalog } from './outbox/catalog.ts';

/**
 * Tells whether the database knows less than it did: it was restored to an earlier time, or is
 * another one behind the same URL. What this host last recorded there, and what it last deleted, is
 * the witness: each is asked for. Where it is missing, all that was learnt from it is forgotten.
 */
export async function isOlder({
  catalog,
  records,
}: Readonly<{ catalog: Catalog; records: CloudRecords }>): Promise<boolean> {
  for (const { ref, isDeleted } of catalog.witnesses()) {
    const row = await records.find(ref.projectId, ref.version);
    const known = isDeleted ? ['deleted'] : ['uploaded', 'verified', 'deleted'];
    const isKnown = row?.generation_id === ref.generationId && known.includes(row.status);
    // Without our migrations there is nothing to know.
    if (isKnown || (row === null && !(await records.isThere()))) continue;
    await catalog.write(() => {
      catalog.dropWitnesses();
      catalog.setChangesSeen(null);
    });
    return true;
  }
  return false;
}
