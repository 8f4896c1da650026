import { type GenerationRow, keyOf, refOf } from '../catalog/generation-row.ts';
import type { Job } from '../catalog/jobs.ts';
import { noteInCloud } from '../catalog/progress.ts';
import type { RecordOutcome } from '../cloud/outcomes.ts';
import type { Recording } from '../cloud/recording.ts';
import { removeUnneeded } from '../cloud/remove-unneeded.ts';
import { absent, superseded } from './failures.ts';
import { type HashedRow, withHashes } from './hashed.ts';
import type { StepResult } from './life.ts';
import type { Parts } from './parts.ts';
import { verifiedEvent } from './verified-event.ts';

/** Says in the cloud that the archive is there. Mostly the database has the proof of it too. */
export async function record(
  parts: Parts,
  given: GenerationRow,
  job: Job,
  ask: (recording: Recording) => Promise<RecordOutcome>,
): Promise<StepResult> {
  const { store } = parts;
  const ref = refOf(given);
  const row = await withHashes(parts, given);
  if (row === null) return 'changed';
  // It was packed again meanwhile, or replaced: that is not what is in the bucket.
  if (job.uploaded_sha256 !== row.sha256) return 'changed';
  const answer = await ask({
    ref,
    objectKey: keyOf(row),
    sha256: row.sha256,
    status: 'uploaded',
    fileCount: row.file_count ?? 0,
    readDetails: () => ({
      manifest: store.archives.findManifest(ref)!,
      blockIndex: store.archives.readBlockIndex(ref),
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
): Promise<StepResult> {
  const { catalog } = parts;
  const ref = refOf(row);
  const at = new Date(parts.now()).toISOString();
  const setUploaded = () =>
    catalog.write(() => noteInCloud(catalog, ref, row.digest, 'uploaded', at));
  switch (answer.outcome) {
    case 'recorded':
      await setUploaded();
      await removeUnneeded(parts, answer.unneeded);
      if (answer.status !== 'verified') return 'there';
      await catalog.write(() => {
        noteInCloud(catalog, ref, row.digest, 'verified', at);
        parts.onEvent(verifiedEvent(row));
      });
      parts.onVerified();
      return 'proven';
    case 'known':
      // The same content is there, packed by another host, as the row says.
      await catalog.write(() =>
        catalog.generations.update(
          ref,
          { object_key: answer.object_key, provisional: 0 },
          row.digest,
        ),
      );
      await removeUnneeded(parts, answer.unneeded);
      return 'there';
    case 'superseded':
      await removeUnneeded(parts, answer.unneeded);
      throw await superseded(parts, row, answer.digest);
    case 'deleted':
      await removeUnneeded(parts, answer.unneeded);
      // Which says whether it is this content that was deleted.
      return 'changed';
    case 'missing':
      return 'changed';
    case 'absent':
      return { outcome: 'missing', because: absent(row) };
    case 'no_database':
      await setUploaded();
      return 'done';
  }
}
