/** What this host can prove of what the cloud has, by hashes that it computed itself. */
import { rm } from 'node:fs/promises';
import type { CloudObjects } from './cloud/objects.ts';
import type { CloudRow } from './cloud/outcomes.ts';
import type { CloudRecords } from './cloud/records.ts';
import { isInCloud, StorageError } from './contract.ts';
import { type GenerationRow, keyOf } from './outbox/catalog.ts';
import type { Store } from './store/store.ts';

type Parts = Readonly<{ store: Store; objects: CloudObjects; records: CloudRecords }>;

/**
 * Asks whether the cloud has the content of a generation: its row, and the bytes. Those are proven
 * by the eTag where it is the MD5 of this host's archive, else by reading them back.
 *
 * @param options.readBack whether to read them back in any case
 * @returns what is the matter; `null` where it is proven
 * @throws StorageError `unavailable`: it says nothing of the bytes
 */
export async function proveInCloud(
  parts: Parts,
  row: GenerationRow,
  { readBack = false } = {},
): Promise<string | null> {
  const record = await parts.records.find(row.project_id, row.version);
  if (record === null && (await parts.records.isThere())) return 'the database has no row';
  if (record !== null) {
    const other = otherThan(row, record);
    if (other !== null) return other;
  }
  const place = { key: record?.object_key ?? keyOf(row), bucket: record?.bucket };
  const info = await parts.objects.info(place.key, place.bucket);
  if (info === null) return 'it is not in the bucket';
  const isOurs = info.etag === row.md5 && info.bytes === row.archive_bytes;
  if (isOurs && !readBack) return null;
  const sha256 = await parts.objects.readBack(place.key, place.bucket);
  if (sha256 === row.sha256) return null;
  const isAsRecorded = record === null || record.sha256 === null || record.sha256 === sha256;
  // Another host may have packed the same content.
  const digest = isAsRecorded ? await digestInCloud(parts, place) : null;
  return digest === row.digest ? null : 'the bucket holds other bytes than were recorded';
}

/** What the row says that this host does not. */
function otherThan(row: GenerationRow, record: CloudRow): string | null {
  if (record.generation_id !== row.generation_id) {
    return `the version is held by generation "${record.generation_id}"`;
  }
  if (record.status === 'deleted') return 'it was deleted in the cloud';
  if (!isInCloud(record.status)) return `the database says that it is ${record.status}`;
  const isSame = record.digest === null || record.digest === row.digest;
  return isSame ? null : 'another host replaced it';
}

/** The digest of what is in the bucket, unpacked and hashed here; `null` where it is no archive. */
async function digestInCloud(
  { store, objects }: Parts,
  { key, bucket }: { key: string; bucket: string | undefined },
): Promise<string | null> {
  const archive = store.stagePath();
  try {
    await objects.download(key, archive, bucket);
    return await store.digestArchive(archive);
  } catch (error) {
    if (error instanceof StorageError && error.code === 'corrupt') return null;
    throw error;
  } finally {
    await rm(archive, { force: true });
  }
}
