import { type GenerationRow, refOf } from '../catalog/generation-row.ts';
import type { ReserveOutcome } from '../cloud/outcomes.ts';
import type { Reservation } from '../cloud/recording.ts';
import { removeUnneeded } from '../cloud/remove-unneeded.ts';
import { formatRef, isInCloud, StorageError } from '../contract.ts';
import { deleteHere } from '../delete/delete-here.ts';
import { renumber } from '../save/renumber.ts';
import { noDatabase, superseded } from './failures.ts';
import { type HashedRow, reservationOf, withHashes } from './hashed.ts';
import type { StepResult } from './life.ts';
import { agreeOnOwner, takeOwner } from './owner.ts';
import type { Parts } from './parts.ts';

type Reserved = Extract<ReserveOutcome, { outcome: 'reserved' }>;
type Conflict = Extract<ReserveOutcome, { outcome: 'conflict' }>;

/** Takes the version and a key in the cloud before a byte is sent. */
export async function reserve(
  parts: Parts,
  given: GenerationRow,
  ask: (reservation: Reservation) => Promise<ReserveOutcome>,
): Promise<StepResult> {
  const ref = refOf(given);
  const row = await withHashes(parts, given);
  if (row === null) return 'changed';
  const answer = await ask(reservationOf(parts, row));
  if (answer.outcome !== 'no_database') await removeUnneeded(parts, answer.unneeded ?? []);
  switch (answer.outcome) {
    case 'reserved':
      return noteReserved(parts, row, answer);
    case 'conflict':
      return settleConflict(parts, row, answer);
    case 'superseded':
      throw await superseded(parts, row, answer.digest);
    case 'deleted':
      await deleteHere(parts, ref, { where: 'cloud', digest: row.digest, purge: false });
      return 'obsolete';
    case 'no_database':
      // Uploaded before there was a database: the row is still owed.
      if (isInCloud(row.status)) throw noDatabase(ref);
      return 'done';
  }
}

async function noteReserved(parts: Parts, row: HashedRow, answer: Reserved): Promise<StepResult> {
  const { catalog } = parts;
  const ref = refOf(row);
  await agreeOnOwner(parts, ref.projectId, answer.owner_id);
  const { status, object_key: key } = answer;
  return catalog.write(() => {
    catalog.generations.update(ref, { object_key: key, provisional: 0 }, row.digest);
    // In the cloud before, as the row says: by us before a crash, or by another host that has the same
    // content. Whether it is there this host finds out itself.
    if (status !== 'pending') return 'there';
    // Also where it was in the cloud once: until it is again, its archive is needed.
    catalog.generations.update(ref, { status: 'pending' }, row.digest);
    return 'done';
  });
}

async function settleConflict(parts: Parts, row: HashedRow, answer: Conflict): Promise<StepResult> {
  const ref = refOf(row);
  if (answer.cause === 'version' && row.provisional !== 0) {
    await renumber(parts, ref);
    return 'obsolete';
  }
  if (answer.cause === 'owner' && answer.owner_id !== undefined) {
    await takeOwner(parts, ref.projectId, answer.owner_id);
  }
  parts.onEvent({ kind: 'generation.conflict', reason: answer.reason, ...ref });
  throw new StorageError('conflict', `Cannot upload ${formatRef(ref)}: ${answer.reason}`);
}
