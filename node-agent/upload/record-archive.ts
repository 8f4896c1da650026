import type { Cloud } from '../cloud/cloud.ts';
import { formatRef, type Ref, StorageError } from '../contract.ts';

/**
 * Makes the row of an archive that is in the bucket without one: it is read back for its hash.
 *
 * @param createdAt ISO 8601
 * @returns whether there was anything to do
 * @throws StorageError `conflict` where another generation has the version, `unavailable`
 */
export async function recordArchive(
  { objects, records }: Cloud,
  ref: Ref,
  { key, ownerId, createdAt }: { key: string; ownerId: string | null; createdAt: string },
): Promise<boolean> {
  const known = await records.find(ref.projectId, ref.version);
  if (known?.generation_id === ref.generationId) return false;
  const info = await objects.info(key);
  const sha256 = await objects.readBack(key);
  const reserved = await records.reserve({
    ref,
    objectKey: key,
    digest: null,
    sha256,
    archiveBytes: info?.bytes ?? null,
    sourceBytes: null,
    fileCount: null,
    createdAt,
    ownerId,
    replace: false,
  });
  if (reserved.outcome === 'no_database') {
    throw new StorageError(
      'unavailable',
      `Cannot record ${formatRef(ref)}: the migrations are not applied`,
    );
  }
  if (reserved.outcome !== 'reserved') {
    const reason = reserved.outcome === 'conflict' ? reserved.reason : 'it was deleted';
    throw new StorageError('conflict', `Cannot record ${formatRef(ref)}: ${reason}`);
  }
  await records.record({
    ...{ ref, objectKey: reserved.object_key, sha256, status: 'verified', fileCount: 0 },
    readDetails: null,
  });
  return true;
}
