import { type GenerationRow, keyOf, refOf } from '../catalog/generation-row.ts';
import { noteInCloud } from '../catalog/progress.ts';
import { formatRef, StorageError } from '../contract.ts';
import { packAgain } from '../upkeep/archive-of.ts';
import { dropDamaged, proveObject } from '../upkeep/proof.ts';
import { absent } from './failures.ts';
import { type HashedRow, withHashes } from './hashed.ts';
import type { StepResult } from './life.ts';
import type { Parts } from './parts.ts';
import { noteRecorded } from './record.ts';
import { verifiedEvent } from './verified-event.ts';

/** Proves that the bucket has the content of a generation, by hashes that this host made. */
export async function verify(parts: Parts, given: GenerationRow): Promise<StepResult> {
  const { catalog, objects, records } = parts;
  const ref = refOf(given);
  const row = await withHashes(parts, given);
  if (row === null) return 'changed';
  const place = { bucket: objects.bucket, key: keyOf(row) };
  const proof = await proveObject(parts, row, place);
  if (proof.holds === 'nothing' && !proof.isHollow) {
    await catalog.write(() => catalog.generations.update(ref, { status: 'pending' }, row.digest));
    return { outcome: 'missing', because: absent(row) };
  }
  if (proof.holds === 'nothing') return replaceOther(parts, row, null);
  if (proof.holds === 'other') return replaceOther(parts, row, proof.sha256);
  const answer = await records.record({
    ref,
    objectKey: place.key,
    digest: row.digest,
    sha256: proof.sha256,
    status: 'verified',
    fileCount: 0,
    readDetails: null,
  });
  if (answer.outcome !== 'no_database') return noteRecorded(parts, row, answer);
  const at = new Date(parts.now()).toISOString();
  await catalog.write(() => {
    noteInCloud(catalog, ref, row.digest, 'verified', at);
    parts.onEvent(verifiedEvent(row));
  });
  parts.onVerified();
  // The row is still owed.
  return 'done';
}

/** What is not what it was goes, and the right bytes are sent. */
async function replaceOther(
  parts: Parts,
  row: HashedRow,
  sha256: string | null,
): Promise<StepResult> {
  const { store, catalog, objects, records } = parts;
  const ref = refOf(row);
  const place = { bucket: objects.bucket, key: keyOf(row) };
  const record = await records.find(ref.projectId, ref.version);
  if (sha256 !== null && record?.digest === null && record.sha256 === sha256) {
    // Nobody had looked into it, and it is what was found there.
    const reason = 'other content lies in the bucket under its name';
    parts.onEvent({ kind: 'generation.conflict', reason, ...ref });
    throw new StorageError('conflict', `Cannot upload ${formatRef(ref)}: ${reason}`);
  }
  const because = new StorageError(
    'corrupt',
    `Cannot verify ${formatRef(ref)}: the bucket holds other bytes`,
    { retryable: true },
  );
  // It may be ours that is damaged: the tree is whole then, or says that it is not.
  if (!(await store.archives.isSound(ref))) {
    await packAgain(parts, ref);
    return { outcome: 'missing', because };
  }
  const isOurs = record === null || record.sha256 === row.sha256;
  await dropDamaged(parts, ref, { ...place, isOurs });
  await catalog.write(() => catalog.generations.update(ref, { status: 'pending' }, row.digest));
  return { outcome: 'missing', because };
}
