import type { Written } from './blobs.ts';
import { problems } from './errors.ts';

/** A row of `storage.objects`. */
export type ObjectRow = {
  id: string;
  name: string;
  bucket_id: string;
  owner: string | null;
  owner_id: string | null;
  version: string;
  created_at: string;
  updated_at: string;
  last_accessed_at: string;
  metadata: ObjectMetadata;
  user_metadata: Record<string, unknown> | null;
};

export type ObjectMetadata = {
  eTag: string;
  size: number;
  mimetype: string;
  cacheControl: string;
  lastModified: string;
  contentLength: number;
  httpStatusCode: number;
};

/** A row of `storage.buckets`. */
export type BucketRow = {
  id: string;
  name: string;
  owner: string | null;
  public: boolean;
  type: string;
  file_size_limit: number | null;
  allowed_mime_types: string[] | null;
  created_at: string;
  updated_at: string;
};

export const OBJECT_COLUMNS = `id, name, bucket_id, owner, owner_id, version, created_at,
  updated_at, last_accessed_at, metadata, user_metadata`;

/** Times as the server prints them: milliseconds and `Z`. */
export function printTime(time: string): string {
  return new Date(time).toISOString();
}

/** A row as `copy` and `remove` print it. */
export function printObject(row: ObjectRow): Record<string, unknown> {
  return {
    name: row.name,
    bucket_id: row.bucket_id,
    owner: row.owner ?? '',
    owner_id: row.owner_id ?? '',
    version: row.version,
    id: row.id,
    updated_at: printTime(row.updated_at),
    created_at: printTime(row.created_at),
    last_accessed_at: printTime(row.last_accessed_at),
    metadata: row.metadata,
    user_metadata: row.user_metadata ?? {},
  };
}

export function makeMetadata(written: Written, type: string, cacheControl: string): ObjectMetadata {
  return {
    eTag: `"${written.md5}"`,
    size: written.size,
    mimetype: type,
    cacheControl,
    lastModified: new Date().toISOString(),
    contentLength: written.size,
    httpStatusCode: 200,
  };
}

const KEY = /^(\w|\/|!|-|\.|\*|'|\(|\)| |&|\$|@|=|;|:|\+|,|\?)*$/;

/** Checks a key as the server does: a part of ASCII, not empty. */
export function checkKey(key: string): string {
  if (key === '' || !KEY.test(key)) throw problems.invalidKey(key);
  return key;
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** The old column `owner` holds UUIDs alone, `owner_id` any subject. */
export function asUuid(owner: string | null): string | null {
  return owner !== null && UUID.test(owner) ? owner : null;
}
