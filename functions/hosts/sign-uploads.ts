import type { SupabaseClient } from '@supabase/supabase-js';
import { StorageError } from '../_shared/contract/errors.ts';
import type { ObjectPlace } from '../_shared/read-object.ts';
import { away } from './away.ts';
import type { HostVariables } from './context.ts';

type Signing = Readonly<{ var: Pick<HostVariables, 'service'> }>;

export type UploadToken = ObjectPlace &
  Readonly<{ token: string; expires_at: string; limit_bytes: number | null }>;

/** How long Storage takes one for. */
const GOOD_FOR_MS = 2 * 3_600_000;
/** For so long it is believed that a bucket is private, in milliseconds. */
const LOOK_AFTER_MS = 60_000;

/** When buckets were seen to be private, and without a limit of one object: one that is raised counts at once. */
const seen = new Map<string, number>();

/**
 * Makes a token for each place, which is good for that key alone, and never over what is there.
 *
 * @returns in the order of the places; `null` where something lies there
 * @throws StorageError `forbidden` where the bucket is public, `unavailable`
 */
export async function signUploads(
  c: Signing,
  places: readonly ObjectPlace[],
): Promise<(UploadToken | null)[]> {
  const limits = new Map<string, number | null>();
  for (const bucket of new Set(places.map((place) => place.bucket))) {
    limits.set(bucket, await checkPrivate(c.var.service, bucket));
  }
  return Promise.all(
    places.map(async ({ bucket, object_key }) => {
      const expiresAt = new Date(Date.now() + GOOD_FOR_MS).toISOString();
      const files = c.var.service.storage.from(bucket);
      const { data, error } = await files.createSignedUploadUrl(object_key);
      if (error === null) {
        const limit_bytes = limits.get(bucket) ?? null;
        return { bucket, object_key, token: data.token, expires_at: expiresAt, limit_bytes };
      }
      if (statusOf(error) === 409) return null;
      throw away(`sign the upload of "${object_key}"`, error);
    }),
  );
}

/** Makes it, private, where it is missing: everybody would read what is put into a public one. */
async function checkPrivate(service: SupabaseClient, bucket: string): Promise<number | null> {
  const seenAt = seen.get(bucket);
  if (seenAt !== undefined && performance.now() - seenAt < LOOK_AFTER_MS) return null;
  const doing = `look up the bucket "${bucket}"`;
  const { data, error } = await service.storage.getBucket(bucket);
  if (error !== null) {
    if (statusOf(error) !== 404) throw away(doing, error);
    const made = await service.storage.createBucket(bucket, { public: false });
    if (made.error !== null && statusOf(made.error) !== 409) throw away(doing, made.error);
    return null;
  }
  if (data.public) {
    const message = `Cannot upload into the bucket "${bucket}": it is public. Make it private, then: codebegen-storage uploads retry`;
    throw new StorageError('forbidden', message);
  }
  const limit = data.file_size_limit ?? null;
  if (limit === null) seen.set(bucket, performance.now());
  else seen.delete(bucket);
  return limit;
}

/** Storage says 400, and in the body what it means. */
function statusOf(error: object): number {
  const { statusCode, status } = error as { statusCode?: string; status?: number };
  return Number(statusCode ?? status ?? 0);
}
