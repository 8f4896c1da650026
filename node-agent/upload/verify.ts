import { packAgain } from '../archive-of.ts';
import { StorageError } from '../contract.ts';
import { type GenerationRow, keyOf, refOf } from '../outbox/catalog.ts';
import type { Next } from '../outbox/outbox.ts';
import { noteHashes, withHashes } from './hashed.ts';
import type { Parts } from './parts.ts';
import { absent } from './put.ts';
import { noteRecorded } from './record.ts';

/** Proves that the bucket has the bytes of the archive, by a hash that this host made. */
export async function verify(parts: Parts, given: GenerationRow): Promise<Next> {
  const { store, catalog, objects, records } = parts;
  const ref = refOf(given);
  const row = await withHashes(parts, given);
  const key = keyOf(row);
  const { sha256, md5, archive_bytes: bytes } = row;
  try {
    if (!(await objects.verify(key, { sha256, md5, bytes }))) {
      await catalog.write(() => catalog.setPending(ref, row.digest));
      return { again: 'reserve', because: absent(row) };
    }
  } catch (error) {
    if (!(error instanceof StorageError) || error.code !== 'corrupt') throw error;
    // Other bytes than were sent: they go, and the right ones are sent again.
    if (!store.has(ref)) throw error;
    await objects.remove([{ bucket: objects.bucket, key }]);
    await catalog.write(() => catalog.setPending(ref, row.digest));
    // It may be ours that is damaged: the tree is whole then, or says that it is not.
    if (!(await store.isArchiveSound(ref))) {
      await noteHashes(parts, row, await packAgain(parts, ref));
    }
    return { again: 'reserve', because: error };
  }
  const answer = await records.record({
    ref,
    objectKey: key,
    sha256,
    status: 'verified',
    fileCount: 0,
    readDetails: null,
  });
  if (answer.outcome !== 'no_database') return noteRecorded(parts, row, answer);
  const at = new Date(parts.now()).toISOString();
  await catalog.write(() => catalog.setStatus(ref, row.digest, 'verified', at));
  parts.onVerified();
  // The row is still owed.
  return 'reserve';
}
