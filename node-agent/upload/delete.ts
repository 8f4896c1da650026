import { forget } from '../catalog/deleting.ts';
import { type GenerationRow, keyOf, keysGivenFor, refOf } from '../catalog/generation-row.ts';
import { removeUnneeded } from '../cloud/remove-unneeded.ts';
import { undeleteHere } from '../delete/undelete-here.ts';
import { noDatabase } from './failures.ts';
import type { StepResult } from './life.ts';
import type { Parts } from './parts.ts';

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
  const of = { digests, keys: keysGivenFor(row), deletedAt, epoch: row.cloud_epoch };
  const answer = await retention.recordDeletion(ref, of, catalog.meta.hostId);
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
