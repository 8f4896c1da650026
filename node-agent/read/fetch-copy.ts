import { rm } from 'node:fs/promises';
import type { Cache } from '../cache/cache.ts';
import type { CacheEntry } from '../cache/entry.ts';
import type { GenerationRow } from '../catalog/generation-row.ts';
import { formatRef, type Ref, StorageError } from '../contract.ts';
import { fromFileSystem } from '../disk/file-errors.ts';

/** What is asked for. */
export type Want = Readonly<{
  projectId: string;
  version: number;
  generationId?: string;
  /** What this host knows of it; `null` where it was saved on another. */
  row: GenerationRow | null;
  /** @default false */
  layOut?: boolean;
}>;

/** Where an archive is, under the same key in every bucket, and what it must be. */
export type Copy = Readonly<{
  ref: Ref;
  key: string;
  /** Of its bytes; `null` where nobody here recorded it. */
  sha256: string | null;
  /** Of its content; `null` where nobody here recorded it. */
  digest: string | null;
}>;

/**
 * Downloads an archive into the cache, and compares it with what was recorded.
 *
 * @param download into a new file
 * @param how.isAsked whether the database said just now that it is so
 * @throws StorageError `corrupt` where it is another one, and what the download says; nothing of it is left then
 */
export async function fetchCopy(
  cache: Cache,
  { ref, sha256, digest }: Copy,
  download: (file: string) => Promise<{ sha256: string; etag: string }>,
  { layOut = false, isAsked }: Readonly<{ layOut?: boolean | undefined; isAsked: boolean }>,
): Promise<CacheEntry> {
  const archive = cache.entries.stagePath();
  try {
    const arrived = await download(archive);
    if (sha256 !== null && arrived.sha256 !== sha256) {
      const state = 'what arrived is not what was recorded';
      throw new StorageError('corrupt', `Cannot get ${formatRef(ref)}: ${state}`);
    }
    const trusted = sha256 !== null;
    return await cache.install(ref, archive, { ...arrived, digest, trusted, layOut, isAsked });
  } catch (error) {
    throw fromFileSystem(error, `get ${formatRef(ref)}`);
  } finally {
    await rm(archive, { force: true });
  }
}
