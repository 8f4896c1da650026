import { type GenerationRow, keyOf, refOf } from '../catalog/generation-row.ts';
import { noteInCloud } from '../catalog/progress.ts';
import { removeUnneeded } from '../cloud/remove-unneeded.ts';
import { formatRef, isInCloud, StorageError } from '../contract.ts';
import { deleteHere } from '../delete/delete-here.ts';
import { proveObject } from '../upkeep/proof.ts';
import { lost, noDatabase } from './failures.ts';
import type { StepResult } from './life.ts';
import type { Parts } from './parts.ts';
import { takeOver } from './take-over.ts';
import { verifiedEvent } from './verified-event.ts';

/**
 * Asks whether the cloud still has what was taken out of the store here: there is nothing to send. A
 * database that was put back is told of what lies in the bucket.
 */
export async function confirm(parts: Parts, row: GenerationRow): Promise<StepResult> {
  const { catalog, records } = parts;
  const ref = refOf(row);
  const record = await records.find(ref.projectId, ref.version);
  if (record === null) return recordFound(parts, row);
  if (record.generation_id !== row.generation_id) {
    throw conflict(parts, row, `the version is held by generation "${record.generation_id}"`);
  }
  if (record.status === 'deleted') {
    const isThis = record.digest === null || record.digest === row.digest;
    if (!isThis) throw conflict(parts, row, 'another host replaced it, and that was deleted');
    await deleteHere(parts, ref, { where: 'cloud', digest: row.digest, purge: false });
    return 'obsolete';
  }
  if (record.digest !== null && record.digest !== row.digest) {
    await takeOver(parts, row, record);
    return 'obsolete';
  }
  if (!isInCloud(record.status)) {
    const place = { bucket: record.bucket, key: record.object_key };
    // A database that was put back expects what was sent there since.
    const isSent = (await proveObject(parts, row, place)).holds === 'content';
    if (isSent) return recordFound(parts, { ...row, object_key: record.object_key });
    // Another host has the content, and is about to send it.
    const state = `another host has it, and its upload is ${record.status}`;
    const message = `Cannot confirm ${formatRef(ref)}: ${state}`;
    throw new StorageError('unavailable', message, { retryable: true });
  }
  const proof = await proveObject(parts, row, { bucket: record.bucket, key: record.object_key });
  if (proof.holds !== 'content') throw lost(parts, ref);
  const at = new Date(parts.now()).toISOString();
  await catalog.write(() => {
    catalog.generations.update(ref, { object_key: record.object_key, provisional: 0 }, row.digest);
    noteInCloud(catalog, ref, row.digest, 'verified', at);
    parts.onEvent(verifiedEvent(row));
  });
  return 'proven';
}

/** Makes the row of what lies in the bucket without one. */
async function recordFound(parts: Parts, row: GenerationRow): Promise<StepResult> {
  const { catalog, objects, records } = parts;
  const ref = refOf(row);
  const key = keyOf(row);
  const proof = await proveObject(parts, row, { bucket: objects.bucket, key });
  if (proof.holds !== 'content') throw lost(parts, ref);
  const { sha256 } = proof;
  const reserved = await records.reserve({
    ref,
    objectKey: key,
    digest: row.digest,
    sha256,
    md5: row.md5,
    archiveBytes: row.archive_bytes,
    sourceBytes: row.source_bytes,
    fileCount: row.file_count,
    createdAt: row.created_at,
    ownerId: row.owner_id ?? catalog.projects.ownerOf(ref.projectId),
    replace: row.is_replacement === 1,
    hostId: catalog.meta.hostId,
    earlierKeys: JSON.parse(row.earlier_keys),
  });
  if (reserved.outcome === 'no_database') throw noDatabase(ref);
  await removeUnneeded(parts, reserved.unneeded ?? []);
  if (reserved.outcome === 'reserved' && reserved.object_key === key) {
    const status = 'verified';
    const details = {
      ref,
      objectKey: key,
      sha256,
      status,
      fileCount: 0,
      readDetails: null,
    } as const;
    const recorded = await records.record(details);
    if (recorded.outcome === 'recorded') {
      const at = new Date(parts.now()).toISOString();
      await catalog.write(() => {
        noteInCloud(catalog, ref, row.digest, 'verified', at);
        parts.onEvent(verifiedEvent(row));
      });
      return 'proven';
    }
  }
  // Another host was quicker: what it says is looked at anew.
  throw new StorageError('unavailable', `Cannot record ${formatRef(ref)}: it changed`);
}

function conflict(parts: Parts, row: GenerationRow, reason: string): StorageError {
  const ref = refOf(row);
  parts.onEvent({ kind: 'generation.conflict', reason, ...ref });
  return new StorageError('conflict', `Cannot upload ${formatRef(ref)}: ${reason}`);
}
