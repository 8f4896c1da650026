/** What storage says of an object, and whether that is an archive of ours. */
import { setTimeout as sleep } from 'node:timers/promises';
import { StorageError } from '../contract.ts';
import type { ArchiveFile } from './archive-file.ts';

/** What storage says of an object. */
export type ObjectInfo = Readonly<{ bytes: number; etag: string; sha256: string | null }>;

type Archive = Omit<ArchiveFile, 'path'>;

/** As far as storage says; the eTag is not everywhere the MD5. Verification proves it. */
export function isSame(info: ObjectInfo, archive: Archive): boolean {
  return (
    info.bytes === archive.bytes && (info.etag === archive.md5 || info.sha256 === archive.sha256)
  );
}

/** Between two looks what has a key that was free, in milliseconds. */
const WAITS_MS = [0, 100, 400, 1000];

/**
 * Looks what has a key that was free: somebody was quicker, or an earlier attempt whose answer was
 * lost. One that is still under way has it too, and is not to be seen before it ends.
 *
 * @throws StorageError `conflict` where that is something else, `unavailable` where it does not end
 */
export async function checkTaken(
  key: string,
  archive: Archive,
  look: () => Promise<ObjectInfo | null>,
  cause: StorageError,
): Promise<void> {
  for (const waitMs of WAITS_MS) {
    await sleep(waitMs);
    const info = await look();
    if (info !== null && isSame(info, archive)) return;
    if (info !== null) {
      const state = `other bytes are stored there (${info.bytes} bytes, eTag ${info.etag})`;
      throw new StorageError('conflict', `Cannot upload "${key}": ${state}`, { cause });
    }
  }
  const state = 'another upload to its key is under way';
  throw new StorageError('unavailable', `Cannot upload "${key}": ${state}`, { cause });
}
