/** What this host can prove of what the cloud has, by hashes that it computed itself. */

import { rm } from 'node:fs/promises';
import type { Catalog } from '../catalog/catalog.ts';
import { type GenerationRow, keyOf, refOf } from '../catalog/generation-row.ts';
import { oweAgain } from '../catalog/owing.ts';
import type { Cloud } from '../cloud/cloud.ts';
import type { ObjectPlace } from '../cloud/objects.ts';
import type { CloudRow } from '../cloud/outcomes.ts';
import { removeUnneeded } from '../cloud/remove-unneeded.ts';
import { isInCloud, type Ref, StorageError } from '../contract.ts';
import { fromFileSystem } from '../disk/file-errors.ts';
import type { Tell } from '../events/events.ts';
import type { Store } from '../store/store.ts';
import { packAgain } from './archive-of.ts';
import type { Locks } from './locks.ts';

type Parts = Readonly<{ store: Store }> & Pick<Cloud, 'objects' | 'records' | 'retention'>;

/**
 * What lies in the bucket: the content of a generation, in an archive with this sha256, which may be
 * another host's; nothing; or something else.
 */
export type Proof =
  | Readonly<{ holds: 'content'; sha256: string }>
  /** `isHollow`: what Storage says of it is right, and its bytes are not. */
  | Readonly<{ holds: 'other'; sha256: string; isHollow: boolean }>
  | Readonly<{ holds: 'nothing'; isHollow: boolean }>;

/**
 * Looks whether an object holds the content of a generation: by the eTag where it is the MD5 of this
 * host's archive, else by reading it back.
 *
 * @param options.readBack whether to read it back in any case
 * @throws StorageError `unavailable`: it says nothing of the bytes
 */
export async function proveObject(
  { store, objects }: Pick<Parts, 'store' | 'objects'>,
  row: GenerationRow,
  { bucket, key }: ObjectPlace,
  { readBack = false } = {},
): Promise<Proof> {
  const info = await objects.info(key, bucket);
  if (info === null) return { holds: 'nothing', isHollow: false };
  const isOurs = info.etag === row.md5 && info.bytes === row.archive_bytes;
  if (isOurs && !readBack) return { holds: 'content', sha256: row.sha256! };
  const archive = store.staging.path();
  try {
    const { sha256 } = await objects.download(key, archive, bucket);
    // Another host may have packed the same content.
    const isContent = sha256 === row.sha256 || (await digestOf(store, archive)) === row.digest;
    return isContent ? { holds: 'content', sha256 } : { holds: 'other', sha256, isHollow: isOurs };
  } catch (error) {
    const isGone = error instanceof StorageError && error.code === 'not_found';
    if (isGone) return { holds: 'nothing', isHollow: true };
    throw fromFileSystem(error, `read back "${key}"`);
  } finally {
    await rm(archive, { force: true });
  }
}

/** What unpacking says of what is no archive of ours. */
const NO_ARCHIVE: ReadonlySet<string> = new Set(['corrupt', 'invalid_input', 'too_large']);

/** Of what is in an archive; `undefined` where it is none. */
async function digestOf(store: Store, archive: string): Promise<string | undefined> {
  try {
    return await store.archives.digest(archive);
  } catch (error) {
    if (error instanceof StorageError && NO_ARCHIVE.has(error.code)) return undefined;
    throw error;
  }
}

/** Why the cloud does not have a generation as this host knows it. */
export type CloudProblem = Readonly<{
  reason: string;
  /** The object that seems right to whoever is to send it again: by what Storage says of it, or by its content. */
  hollow: Damaged | null;
}>;

/** What is not what it was. @param isOurs whether it is to be this host's archive, or another's with the same content */
export type Damaged = ObjectPlace & Readonly<{ isOurs: boolean }>;

/**
 * Asks whether the cloud has the content of a generation: its row, and the bytes, as
 * {@link proveObject} proves them.
 *
 * @returns what is the matter; `null` where it is proven
 * @throws StorageError `unavailable`: it says nothing of the bytes
 */
export async function proveInCloud(
  parts: Parts,
  row: GenerationRow,
  options: { readBack?: boolean } = {},
): Promise<CloudProblem | null> {
  const record = await parts.records.find(row.project_id, row.version);
  if (record === null && (await parts.records.isThere())) {
    return { reason: 'the database has no row', hollow: null };
  }
  const other = record === null ? null : otherThan(row, record);
  if (other !== null) return { reason: other, hollow: null };
  const place = {
    bucket: record?.bucket ?? parts.objects.bucket,
    key: record?.object_key ?? keyOf(row),
  };
  const proof = await proveObject(parts, row, place, options);
  const isOurs = record === null || record.sha256 === row.sha256;
  const damaged = { ...place, isOurs };
  if (proof.holds === 'content') {
    // Whoever gets it compares what comes with what was recorded.
    const recorded = record === null ? row.sha256 : record.sha256;
    if (recorded === null || recorded === proof.sha256) return null;
    return { reason: 'the bucket holds another archive than was recorded', hollow: damaged };
  }
  const reason =
    proof.holds === 'nothing'
      ? 'it is not in the bucket'
      : 'the bucket holds other bytes than were recorded';
  return { reason, hollow: proof.isHollow ? damaged : null };
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

/** Has a generation sent again that the cloud lost, or has in other bytes. */
export async function mendInCloud(
  parts: Parts &
    Readonly<{
      catalog: Catalog;
      locks: Locks;
      /** Why nothing can be written to the store: then nobody would know of it. */
      unwritable: StorageError | null;
      now: () => number;
      onEvent: Tell;
    }>,
  row: GenerationRow,
  { hollow }: CloudProblem,
): Promise<void> {
  const { catalog, now, unwritable } = parts;
  if (unwritable !== null) return;
  const ref = refOf(row);
  if (hollow !== null && (await isWhole(parts, ref))) await dropDamaged(parts, ref, hollow);
  await catalog.write(() => oweAgain(catalog, ref, now()));
}

async function isWhole(parts: Parameters<typeof packAgain>[0], ref: Ref): Promise<boolean> {
  if (!parts.store.has(ref)) return false;
  try {
    await packAgain(parts, ref);
    return true;
  } catch (error) {
    if (error instanceof StorageError && error.code === 'corrupt') return false;
    throw error;
  }
}

/**
 * Takes an object away that is not what it was. The key of this host's archive is for its bytes, and
 * they are sent there again; that of another's is not given again.
 */
export async function dropDamaged(
  { objects, records, retention }: Omit<Parts, 'store'>,
  ref: Ref,
  { isOurs, ...place }: Damaged,
): Promise<void> {
  const answer = isOurs ? null : await records.recordDamage(ref, place);
  if (answer?.outcome === 'recorded') {
    await removeUnneeded({ objects, retention }, answer.unneeded);
  }
  if (answer === null || answer.outcome === 'no_database') await objects.remove([place]);
}
