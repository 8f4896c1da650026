import type { CloudObjects, CloudRecords } from '../cloud/cloud.ts';
import { isInCloud, type Ref } from '../contract.ts';
import { isNearlyFull } from './evict.ts';
import { type Parts as InstallParts, installGeneration } from './install.ts';

type Parts = Omit<InstallParts, 'download' | 'write'> &
  Readonly<{ objects: CloudObjects; records: CloudRecords }>;

/**
 * Has a generation lie in the store again that was deleted here and undeleted in the cloud: until then the cloud
 * has the only copy. On a file system that is nearly full it stays there.
 *
 * @param stopping ends it, between one try and the next
 * @returns whether it is here
 * @throws StorageError `unavailable`, `corrupt`, `not_found`, `disk_full`
 */
export async function bringBack(parts: Parts, ref: Ref, stopping: AbortSignal): Promise<boolean> {
  const { store, catalog, objects, records } = parts;
  const row = catalog.generations.find(ref.projectId, ref.version);
  if (row?.generation_id !== ref.generationId || row.state !== 'stored') return false;
  if (store.has(ref)) return true;
  // What is told of it first may change what the cloud has.
  if (catalog.jobs.isDeletionOwed(ref)) return false;
  if (await isNearlyFull(store.layout.root)) return false;
  const record = await records.find(ref.projectId, ref.version);
  if (record?.generation_id !== ref.generationId) return false;
  const { bucket, object_key: key, digest, sha256, archive_bytes: bytes, epoch } = record;
  const { status } = record;
  if (!isInCloud(status)) return false;
  const recorded = { status, uploadedAt: row.uploaded_at, epoch };
  const given = { ref, places: [{ bucket, key }], digest, sha256, bytes, recorded };
  const came = await installGeneration(
    {
      ...parts,
      download: (...from) => objects.download(...from),
      write: (work) => catalog.write(work),
    },
    given,
    stopping,
  ).catch((error: unknown) => {
    throw stopping.aborted ? stopping.reason : error;
  });
  return came !== 'deleted';
}
