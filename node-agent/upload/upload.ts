import { type GenerationRow, keyOf, refOf } from '../catalog/generation-row.ts';
import type { Job } from '../catalog/jobs.ts';
import { StorageError } from '../contract.ts';
import { archiveOf, noteArchive, packAgain } from '../upkeep/archive-of.ts';
import { withHashes } from './hashed.ts';
import type { StepResult } from './life.ts';
import type { Parts } from './parts.ts';

/** Sends the archive, unless it is there. */
export async function upload(parts: Parts, given: GenerationRow, job: Job): Promise<StepResult> {
  const { catalog, objects, onEvent } = parts;
  const row = await withHashes(parts, given);
  if (row === null) return 'changed';
  const archive = await archiveOf(parts, refOf(row));
  if (!(await parts.store.archives.isSound(refOf(row)))) {
    await packAgain(parts, refOf(row));
    return 'changed';
  }
  if (archive.sha256 !== row.sha256) {
    // Retired, and packed again by another version of Node: its hash is another.
    await noteArchive(parts, refOf(row));
    return 'changed';
  }
  // An upload that was begun goes on with the same bytes to the same place, or not at all.
  const mark = `${row.sha256} ${keyOf(row)} `;
  const resume = {
    url: job.upload_url?.startsWith(mark) ? job.upload_url.slice(mark.length) : null,
    save: (url: string | null) =>
      catalog.write(() => catalog.jobs.note(job, { upload_url: url === null ? null : mark + url })),
  };
  const began = performance.now();
  const isNew = job.attempts === 0 && job.setbacks === 0 && resume.url === null;
  try {
    await objects.put(keyOf(row), archive, resume, { isNew });
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    // The key is not this host's to send any more: it is given another one.
    if (error.code === 'not_found') return { outcome: 'missing', because: error };
    if (error.code !== 'conflict') throw error;
    // The key is for these bytes alone: whatever is there was put there behind our back.
    const message = `${error.message}. Remove it, then: codebegen-storage uploads retry`;
    throw new StorageError('conflict', message, { cause: error, retryable: true });
  }
  const { bytes } = archive;
  const { digest, sha256 } = row;
  const ms = performance.now() - began;
  await catalog.write(() => {
    catalog.jobs.note(job, { uploaded_sha256: sha256 });
    onEvent({ kind: 'generation.uploaded', ...refOf(row), digest, sha256, bytes, ms });
  });
  return 'done';
}
