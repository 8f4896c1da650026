import { type GenerationRow, keyOf, refOf } from '../catalog/catalog.ts';
import type { Job } from '../catalog/jobs.ts';
import type { RecordOutcome } from '../cloud/outcomes.ts';
import type { Recording } from '../cloud/records.ts';
import { removeUnneeded } from '../cloud/remove-unneeded.ts';
import { type HashedRow, withHashes } from './hashed.ts';
import type { Next } from './outbox.ts';
import type { Parts } from './parts.ts';
import { absent } from './put.ts';
import { superseded } from './reserve.ts';

/** Says in the cloud that the archive is there. Mostly the database has the proof of it too. */
export async function record(
  parts: Parts,
  given: GenerationRow,
  job: Job,
  ask: (recording: Recording) => Promise<RecordOutcome>,
): Promise<Next> {
  const { store } = parts;
  const ref = refOf(given);
  const row = await withHashes(parts, given);
  // It was packed again meanwhile, or replaced: that is not what is in the bucket.
  if (job.uploaded_sha256 !== row.sha256) return 'reserve';
  const answer = await ask({
    ref,
    objectKey: keyOf(row),
    sha256: row.sha256,
    status: 'uploaded',
    fileCount: row.file_count ?? 0,
    readDetails: () => ({
      manifest: store.readOwnManifest(ref),
      blockIndex: store.readBlockIndex(ref),
      md5: row.md5,
    }),
  });
  return noteRecorded(parts, row, answer);
}

/** Notes what came of it, and removes what is not needed any more. */
export async function noteRecorded(
  parts: Parts,
  row: HashedRow,
  answer: RecordOutcome,
): Promise<Next> {
  const { catalog } = parts;
  const ref = refOf(row);
  const at = new Date(parts.now()).toISOString();
  const setStatus = (status: 'uploaded' | 'verified') =>
    catalog.write(() => catalog.setStatus(ref, row.digest, status, at));
  switch (answer.outcome) {
    case 'recorded':
      await setStatus('uploaded');
      await removeUnneeded(parts, answer.unneeded);
      if (answer.status !== 'verified') return 'verify';
      await setStatus('verified');
      parts.onVerified();
      return null;
    case 'known':
      // The same content is there, packed by another host, as the row says.
      await catalog.write(() => catalog.setObjectKey(ref, row.digest, answer.object_key));
      await removeUnneeded(parts, answer.unneeded);
      return 'verify';
    case 'superseded':
      await removeUnneeded(parts, answer.unneeded);
      throw await superseded(parts, row, answer.digest);
    case 'deleted':
      await removeUnneeded(parts, answer.unneeded);
      // Which says whether it is this content that was deleted.
      return 'reserve';
    case 'missing':
      return 'reserve';
    case 'absent':
      return { again: 'reserve', because: absent(row) };
    case 'no_database':
      await setStatus('uploaded');
      return 'verify';
  }
}
