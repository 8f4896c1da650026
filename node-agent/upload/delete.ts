import { forget } from '../catalog/deleting.ts';
import { type GenerationRow, keyOf, keysGivenFor, refOf } from '../catalog/generation-row.ts';
import { removeUnneeded } from '../cloud/remove-unneeded.ts';
import { undeleteHere } from '../delete/undelete-here.ts';
import { noDatabase } from './failures.ts';
import { reservationOf } from './hashed.ts';
import type { StepResult } from './life.ts';
import type { Parts } from './parts.ts';

type SentRow = GenerationRow & { sha256: string; archive_bytes: number; object_key: string };

/** Whether the cloud had it, as far as this host knows. */
const wasSent = (row: GenerationRow): row is SentRow =>
  row.sha256 !== null && row.archive_bytes !== null && row.object_key !== null;

/**
 * Has a database that was put back know of what it is to delete, so that it can be undeleted: its object is kept. A
 * host with a key of its own is told the same of what is not there as of what is another's, until it has reserved it.
 */
async function recordUnknown(parts: Parts, row: SentRow): Promise<void> {
  const { records } = parts;
  const { sha256, object_key: objectKey } = row;
  // It takes the place of nothing: what the cloud has under its name by now stays.
  const reserved = await records.reserve(reservationOf(parts, { ...row, is_replacement: 0 }));
  if (reserved.outcome !== 'reserved') return;
  const isSent = reserved.status === 'pending' && reserved.object_key === objectKey;
  if (isSent) {
    const ref = refOf(row);
    const [fileCount, readDetails] = [0, null];
    await records.record({ ref, objectKey, sha256, status: 'uploaded', fileCount, readDetails });
  }
}

/**
 * Deletes in the cloud what was deleted here. A deletion is of content: what the cloud has under
 * the same name in other content stays, and is seen here from then on.
 */
export async function deleteInCloud(parts: Parts, row: GenerationRow): Promise<StepResult> {
  const { store, catalog, objects, retention } = parts;
  const ref = refOf(row);
  // What it took the place of is deleted too, where it had not got there yet.
  const known = [row.digest, row.replaced_digest].filter((digest) => digest !== null);
  const digests = row.digest === null ? null : known;
  const deletedAt = store.tombstones.deletedAt(ref);
  // It was taken back.
  if (deletedAt === null) return 'obsolete';
  const keys = keysGivenFor(row);
  const sent = { key: keyOf(row), md5: row.md5, sha256: row.sha256 };
  const of = { digests, keys, sent, deletedAt, epoch: row.cloud_epoch };
  const tell = (mustBeKnown: boolean) =>
    retention.recordDeletion(ref, { ...of, mustBeKnown }, catalog.meta.hostId);
  let answer = await tell(wasSent(row));
  if (answer.outcome === 'other' && wasSent(row)) {
    await recordUnknown(parts, row);
    answer = await tell(false);
  }
  switch (answer.outcome) {
    case 'recorded':
      await removeUnneeded(parts, answer.unneeded);
      if (answer.undelete_until === null) await store.trash.drop(ref);
      await catalog.write(() => {
        catalog.meta.setWitness(ref, true);
        catalog.generations.setCloudEpoch(ref, answer.epoch);
      });
      return 'done';
    case 'undeleted': {
      const found = await parts.records.find(ref.projectId, ref.version);
      if (found !== null) await undeleteHere(parts, ref, found, { isAsked: true });
      return 'obsolete';
    }
    case 'other':
      await store.tombstones.drop(ref, new Date(parts.now()).toISOString());
      await catalog.write(() => {
        catalog.projects.setCloudVersion(ref.projectId, ref.version, false);
        forget(catalog, ref);
        const reason = 'the cloud has other content under its name, which was not deleted';
        parts.onEvent({ kind: 'generation.conflict', reason, ...ref });
      });
      return 'obsolete';
    case 'no_database':
      await objects.remove([{ bucket: objects.bucket, key: keyOf(row) }]);
      throw noDatabase(ref);
  }
}
