import { forget, markUndeleted } from '../catalog/deleting.ts';
import type { CloudRow } from '../cloud/outcomes.ts';
import { isInCloud, type Ref } from '../contract.ts';
import { type Parts, takeBack } from './take-back.ts';

/**
 * Undoes a deletion here that was undone in the cloud. What the trash keeps is put back. Else the tombstone goes,
 * then the catalog has what the cloud has, and whoever asks for it gets it from there; what another host
 * is still to send is asked for as if it had never been here. May be repeated.
 *
 * @param options.isAsked whether a deletion that is still to be told is not told any more
 * @returns whether there was something to undo
 * @throws StorageError `unavailable`, `disk_full`, `forbidden`
 */
export async function undeleteHere(
  parts: Parts,
  ref: Ref,
  record: CloudRow,
  { isAsked = false }: { isAsked?: boolean } = {},
): Promise<boolean> {
  const { store, catalog, now, onEvent } = parts;
  if ((await takeBack(parts, ref, { where: 'cloud', requestId: null })) !== null) return true;
  await store.tombstones.drop(ref, new Date(now()).toISOString());
  return catalog.write(() => {
    const row = catalog.generations.find(ref.projectId, ref.version);
    if (row?.generation_id !== ref.generationId || row.state !== 'deleted') return false;
    if (isAsked) catalog.jobs.dropAll(ref);
    if (catalog.jobs.isDeletionOwed(ref)) return false;
    if (!isInCloud(record.status)) {
      forget(catalog, ref);
      return true;
    }
    catalog.generations.setCloudEpoch(ref, record.epoch);
    markUndeleted(catalog, ref, record);
    onEvent({ kind: 'generation.undeleted', ...ref, digest: record.digest, where: 'cloud' });
    return true;
  });
}
