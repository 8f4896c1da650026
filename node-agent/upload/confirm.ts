import { type GenerationRow, keyOf, refOf } from '../catalog/generation-row.ts';
import { noteInCloud } from '../catalog/progress.ts';
import { removeUnneeded } from '../cloud/remove-unneeded.ts';
import { formatRef, isInCloud, type Ref, StorageError } from '../contract.ts';
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
  const { records } = parts;
  const ref = refOf(row);
  const record = await records.find(ref.projectId, ref.version);
  if (record === null) {
    const isFound =
      (await recordFound(parts, row, [keyOf(row)])) || (await recordUnseen(parts, row));
    if (isFound) return 'proven';
    throw lost(parts, ref);
  }
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
    // One that was put back to before this was sent expects what this took the place of, which nobody sends.
    const isOlder = !isInCloud(record.status) && row.is_replacement === 1;
    if (isOlder && (await recordFound(parts, row, [keyOf(row)]))) return 'proven';
    await takeOver(parts, row, record);
    return 'obsolete';
  }
  if (!isInCloud(record.status)) {
    // A database that was put back expects what was sent there since, or elsewhere.
    const isFound =
      (await recordFound(parts, row, [record.object_key, keyOf(row)])) ||
      (record.status === 'pending' && (await recordUnseen(parts, row)));
    if (isFound) return 'proven';
    // It was looked for before, and is the row of that.
    if (record.status === 'failed' && !parts.objects.showsUnnamed) throw lost(parts, ref);
    // Another host has the content, and is about to send it.
    const state = `another host has it, and its upload is ${record.status}`;
    const message = `Cannot confirm ${formatRef(ref)}: ${state}`;
    throw new StorageError('unavailable', message, { retryable: true });
  }
  const proof = await proveObject(parts, row, { bucket: record.bucket, key: record.object_key });
  if (proof.holds !== 'content') throw lost(parts, ref);
  await noteProven(parts, row, record.object_key);
  return 'proven';
}

/** Notes that the cloud has it under a key. */
async function noteProven(parts: Parts, row: GenerationRow, key: string): Promise<void> {
  const { catalog } = parts;
  const ref = refOf(row);
  const at = new Date(parts.now()).toISOString();
  await catalog.write(() => {
    catalog.generations.update(ref, { object_key: key, provisional: 0 }, row.digest);
    noteInCloud(catalog, ref, row.digest, 'verified', at);
    parts.onEvent(verifiedEvent(row));
  });
}

/**
 * Has the row name what lies in the bucket under one of the keys.
 *
 * @returns whether the content lies there
 */
async function recordFound(
  parts: Parts,
  row: GenerationRow,
  keys: readonly string[],
): Promise<boolean> {
  const found = await findContent(parts, row, keys);
  if (found === null) return false;
  if (!(await reserveFound(parts, row, found))) throw changed(refOf(row));
  await recordProven(parts, row, found);
  return true;
}

/**
 * The same by the key of a host, which is shown what no row names once it has reserved it.
 *
 * @returns whether the content lies where this host knows it
 */
async function recordUnseen(parts: Parts, row: GenerationRow): Promise<boolean> {
  const [key, { sha256 }] = [keyOf(row), row];
  if (parts.objects.showsUnnamed || sha256 === null) return false;
  if (!(await reserveFound(parts, row, { key, sha256 }))) return false;
  const proven = await findContent(parts, row, [key]);
  if (proven !== null) await recordProven(parts, row, proven);
  return proven !== null;
}

type Found = Readonly<{ key: string; sha256: string }>;

async function findContent(
  parts: Parts,
  row: GenerationRow,
  keys: readonly string[],
): Promise<Found | null> {
  const { bucket } = parts.objects;
  for (const key of new Set(keys)) {
    const proof = await proveObject(parts, row, { bucket, key });
    if (proof.holds === 'content') return { key, sha256: proof.sha256 };
  }
  return null;
}

/** @returns whether the row is to name it: not where another host was quicker, or has other content there */
async function reserveFound(
  parts: Parts,
  row: GenerationRow,
  { key, sha256 }: Found,
): Promise<boolean> {
  const { catalog, records } = parts;
  const ref = refOf(row);
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
    sentKey: key,
    // What lies there too is one too many.
    earlierKeys: [...JSON.parse(row.earlier_keys), keyOf(row)].filter((other) => other !== key),
  });
  if (reserved.outcome === 'no_database') throw noDatabase(ref);
  await removeUnneeded(parts, reserved.unneeded ?? []);
  if (reserved.outcome === 'conflict') throw conflict(parts, row, reserved.reason);
  return reserved.outcome === 'reserved' && reserved.object_key === key;
}

async function recordProven(
  parts: Parts,
  row: GenerationRow,
  { key, sha256 }: Found,
): Promise<void> {
  const { records } = parts;
  const ref = refOf(row);
  const [fileCount, readDetails] = [0, null];
  const recording = {
    ref,
    objectKey: key,
    sha256,
    status: 'verified',
    fileCount,
    readDetails,
  } as const;
  const recorded = await records.record(recording);
  if (recorded.outcome !== 'recorded') throw changed(ref);
  await noteProven(parts, row, key);
}

/** Another host was quicker: what it says is looked at anew. */
const changed = (ref: Ref) =>
  new StorageError('unavailable', `Cannot record ${formatRef(ref)}: it changed`);

function conflict(parts: Parts, row: GenerationRow, reason: string): StorageError {
  const ref = refOf(row);
  parts.onEvent({ kind: 'generation.conflict', reason, ...ref });
  return new StorageError('conflict', `Cannot upload ${formatRef(ref)}: ${reason}`);
}
