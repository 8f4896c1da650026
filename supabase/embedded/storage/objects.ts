import { randomUUID } from 'node:crypto';
import type { Blobs, Written } from './blobs.ts';
import { getBucket } from './buckets.ts';
import { fromDatabase, problems } from './errors.ts';
import {
  asUuid,
  type BucketRow,
  checkKey,
  makeMetadata,
  OBJECT_COLUMNS,
  type ObjectRow,
  printObject,
  printTime,
} from './rows.ts';
import type { Caller, Sessions } from './session.ts';

/** A new object, all but its bytes. */
export type NewObject = Readonly<{
  bucket: string;
  key: string;
  owner: string | null;
  type: string;
  cacheControl: string;
  userMetadata: Record<string, unknown> | null;
}>;

/** What the storage server works on. */
export type Objects = Readonly<{
  sessions: Sessions;
  blobs: Blobs;
  /** Bytes of one object, where its bucket sets no lower limit. */
  fileSizeLimit: number;
}>;

const FILE_NAME_BYTES = 255;

/** Checks all that an upload can be refused for before its body is read. */
export async function checkUpload(
  { sessions, fileSizeLimit }: Objects,
  caller: Caller | null,
  object: NewObject,
  options: { upsert: boolean; contentLength: number | null },
): Promise<{ limit: number }> {
  checkKey(object.key);
  const bucket = await getBucket(sessions, object.bucket);
  checkType(bucket, object.type);
  const limit = limitOf(bucket, object.key, fileSizeLimit);
  if ((options.contentLength ?? 0) > limit) throw problems.tooLarge();
  if (caller !== null) await checkMayWrite(sessions, caller, object, options.upsert);
  return { limit };
}

/** Bytes that an object may have: the marker of an empty folder has none. */
export function limitOf(bucket: BucketRow, key: string, fileSizeLimit: number): number {
  if (key.endsWith('.emptyFolderPlaceholder')) return 0;
  return Math.min(bucket.file_size_limit ?? fileSizeLimit, fileSizeLimit);
}

/** The measured server keeps an object in a file of its name, which has its limit on disk. */
export function checkFileName(key: string): void {
  const isTooLong = key.split('/').some((part) => Buffer.byteLength(part) > FILE_NAME_BYTES);
  if (isTooLong) throw problems.internal();
}

/**
 * Stores an object. Like the real server it asks first and writes the row last, so that of
 * parallel writers several succeed and the last wins.
 */
export async function putObject(
  objects: Objects,
  caller: Caller | null,
  object: NewObject,
  options: { upsert: boolean; contentLength: number | null },
  body: ReadableStream<Uint8Array> | null,
): Promise<{ Key: string; Id: string }> {
  const { limit } = await checkUpload(objects, caller, object, options);
  checkFileName(object.key);
  const version = randomUUID();
  const written = await objects.blobs.write(version, body, limit);
  return finishObject(objects, object, version, written);
}

/** Writes the row of an object whose bytes are there, and drops the bytes that it replaces. */
export async function finishObject(
  { sessions, blobs }: Objects,
  object: NewObject,
  version: string,
  written: Written,
): Promise<{ Key: string; Id: string }> {
  const metadata = makeMetadata(written, object.type, object.cacheControl);
  const { id, replaced } = await sessions.asServer(async (transaction) => {
    const old = await transaction.query<{ version: string }>(
      'select version from storage.objects where bucket_id = $1 and name = $2 for update',
      [object.bucket, object.key],
    );
    const stored = await transaction.query<{ id: string }>(
      `insert into storage.objects (bucket_id, name, owner, owner_id, version, metadata, user_metadata)
       values ($1, $2, $3, $4, $5, $6, $7)
       on conflict (bucket_id, name) do update set
         owner = excluded.owner, owner_id = excluded.owner_id, version = excluded.version,
         metadata = excluded.metadata, user_metadata = excluded.user_metadata, updated_at = now()
       returning id`,
      [
        object.bucket,
        object.key,
        asUuid(object.owner),
        object.owner,
        version,
        metadata,
        object.userMetadata,
      ],
    );
    return { id: stored.rows[0]!.id, replaced: old.rows.map((row) => row.version) };
  });
  await blobs.remove(replaced);
  return { Key: `${object.bucket}/${object.key}`, Id: id };
}

/** Finds an object that the caller may read. `null` as the caller asks as the server itself. */
export async function getObject(
  sessions: Sessions,
  caller: Caller | null,
  bucket: string,
  key: string,
): Promise<ObjectRow> {
  const sql = `select ${OBJECT_COLUMNS} from storage.objects where bucket_id = $1 and name = $2`;
  const result = await (caller === null
    ? sessions.asServer((transaction) => transaction.query<ObjectRow>(sql, [bucket, key]))
    : sessions.as(caller, (transaction) => transaction.query<ObjectRow>(sql, [bucket, key])));
  const row = result.rows[0];
  if (row === undefined) throw problems.noSuchKey();
  return row;
}

/** An object as `info` prints it. */
export function printInfo(row: ObjectRow): Record<string, unknown> {
  return {
    id: row.id,
    name: row.name,
    version: row.version,
    bucket_id: row.bucket_id,
    size: row.metadata.size,
    content_type: row.metadata.mimetype,
    cache_control: row.metadata.cacheControl,
    etag: row.metadata.eTag,
    metadata: row.user_metadata,
    last_modified: printTime(row.updated_at),
    created_at: printTime(row.created_at),
  };
}

/** Removes what the caller may; what is missing or forbidden is passed over in silence. */
export async function removeObjects(
  { sessions, blobs }: Objects,
  caller: Caller,
  bucket: string,
  keys: readonly string[],
): Promise<ObjectRow[]> {
  const removed = await sessions.as(caller, async (transaction) => {
    await transaction.query(`set local storage.allow_delete_query = 'true'`);
    return transaction.query<ObjectRow>(
      `delete from storage.objects where bucket_id = $1 and name = any ($2)
       returning ${OBJECT_COLUMNS}`,
      [bucket, keys],
    );
  });
  await blobs.remove(removed.rows.map((row) => row.version));
  return removed.rows;
}

/** Removes everything in a bucket. */
export async function emptyBucket(
  { sessions, blobs }: Objects,
  caller: Caller,
  bucket: string,
): Promise<void> {
  const removed = await sessions.as(caller, async (transaction) => {
    await transaction.query(`set local storage.allow_delete_query = 'true'`);
    return transaction.query<{ version: string }>(
      'delete from storage.objects where bucket_id = $1 returning version',
      [bucket],
    );
  });
  await blobs.remove(removed.rows.map((row) => row.version));
}

export async function copyObject(
  objects: Objects,
  caller: Caller,
  from: { bucket: string; key: string },
  to: { bucket: string; key: string },
  options: { upsert: boolean },
): Promise<Record<string, unknown>> {
  const { sessions, blobs } = objects;
  const source = await getObject(sessions, caller, from.bucket, from.key);
  const copy: NewObject = {
    ...to,
    owner: caller.sub,
    type: source.metadata.mimetype,
    cacheControl: source.metadata.cacheControl,
    userMetadata: source.user_metadata,
  };
  await checkUpload(objects, caller, copy, { ...options, contentLength: null });
  checkFileName(to.key);
  const version = randomUUID();
  await blobs.copy(source.version, version);
  const written = { size: source.metadata.size, md5: source.metadata.eTag.replaceAll('"', '') };
  const { Key, Id } = await finishObject(objects, copy, version, written);
  return { Key, Id, ...printObject(await getObject(sessions, null, to.bucket, to.key)) };
}

export async function moveObject(
  { sessions }: Objects,
  caller: Caller,
  from: { bucket: string; key: string },
  to: { bucket: string; key: string },
): Promise<void> {
  checkKey(to.key);
  await getObject(sessions, caller, from.bucket, from.key);
  const moved = await sessions
    .as(caller, (transaction) =>
      transaction.query(
        `update storage.objects set bucket_id = $3, name = $4, updated_at = now()
         where bucket_id = $1 and name = $2 returning id`,
        [from.bucket, from.key, to.bucket, to.key],
      ),
    )
    .catch((error: unknown) => {
      throw fromDatabase(error, 'KeyAlreadyExists');
    });
  // It was not found to be changed.
  if (moved.rows.length === 0) throw problems.noSuchKey();
}

/** Tries the write in a transaction that is rolled back: policy says whether it may be. */
async function checkMayWrite(
  sessions: Sessions,
  caller: Caller,
  object: NewObject,
  upsert: boolean,
): Promise<void> {
  const conflict = upsert
    ? 'on conflict (bucket_id, name) do update set version = excluded.version'
    : '';
  await sessions
    .as(caller, async (transaction) => {
      await transaction.query(
        `insert into storage.objects (bucket_id, name, owner, owner_id, version)
         values ($1, $2, $3, $4, '1') ${conflict}`,
        [object.bucket, object.key, asUuid(object.owner), object.owner],
      );
      await transaction.rollback();
    })
    .catch((error: unknown) => {
      throw fromDatabase(error, 'KeyAlreadyExists');
    });
}

function checkType(bucket: BucketRow, type: string): void {
  const allowed = bucket.allowed_mime_types;
  if (allowed === null || allowed.length === 0) return;
  const essence = type.split(';')[0]?.trim() ?? '';
  const fits = allowed.some(
    (pattern) =>
      pattern === essence || (pattern.endsWith('/*') && essence.startsWith(pattern.slice(0, -1))),
  );
  if (!fits) throw problems.invalidType(type);
}
